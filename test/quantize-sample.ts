import { quantizeRows } from "../src/ggml/quantize.ts";
import { rowBytes, type TensorType } from "../src/ggml/types.ts";
import { type GgufValue, gguf } from "../src/gguf/values.ts";
import { writeGguf } from "../src/gguf/write.ts";
import { Random } from "../src/model/random.ts";

/** A file that can be quantised, and not run: matrices of very few rows, under a model's names. */
export interface QuantizeSample {
  readonly architecture: string;
  readonly layers: number;
  /** 0 for a dense model. */
  readonly experts: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly expertWidth?: number;
  /** Whether the embeddings are the output matrix too. */
  readonly tied?: boolean;
  /** Queries, keys and values in one matrix. */
  readonly joined?: boolean;
  /** Of the matrices. */
  readonly type?: TensorType;
  /** Matrices of more names, [256, 2] each. */
  readonly more?: readonly string[];
}

const columns = 256;
const rows = 2;

/** Writes a file of random weights. */
export async function writeQuantizeSample(path: string, sample: QuantizeSample): Promise<void> {
  const { type = "F32" } = sample;
  const random = new Random(7);
  const tensors = tensorsOf(sample).map(({ name, shape }) => {
    const kept = shape.length === 1 || name.includes("_inp");
    return { name, shape, type: kept ? ("F32" as const) : type };
  });
  await writeGguf(path, {
    metadata: metadataOf(sample),
    tensors,
    data: async ({ type, shape }) => {
      const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
      random.fillNormal(values, 1);
      const bytes = new Uint8Array(rowBytes(type, values.length));
      await quantizeRows(type, values, shape[0]!, bytes);
      return bytes;
    },
  });
}

function metadataOf({ architecture, layers, experts, heads = 4, kvHeads = 2 }: QuantizeSample) {
  const numbers: Record<string, number> = {
    context_length: 256,
    embedding_length: columns,
    block_count: layers,
    feed_forward_length: columns,
    "attention.head_count": heads,
    "attention.head_count_kv": kvHeads,
    vocab_size: 300,
    expert_count: experts,
    expert_used_count: experts > 0 ? 2 : 0,
    expert_feed_forward_length: columns,
  };
  const entries = Object.entries(numbers).map(([key, value]): [string, GgufValue] => [
    `${architecture}.${key}`,
    gguf.u32(value),
  ]);
  const epsilons = ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"];
  return [
    ["general.architecture", gguf.string(architecture)] as const,
    ...entries,
    ...epsilons.map((key) => [`${architecture}.${key}`, gguf.f32(1e-5)] as const),
  ];
}

function tensorsOf({ layers, experts, expertWidth = columns, tied, joined, more = [] }: QuantizeSample) {
  const matrix = (name: string, width = columns) => ({ name: `${name}.weight`, shape: [width, rows] });
  const expert = (name: string, width = columns) => ({
    name: `${name}.weight`,
    shape: [width, rows, experts],
  });
  const vector = (name: string) => ({ name: `${name}.weight`, shape: [columns] });
  const attention = joined ? ["attn_qkv"] : ["attn_q", "attn_k", "attn_v"];
  const network =
    experts > 0
      ? [
          matrix("ffn_gate_inp"),
          expert("ffn_gate_exps"),
          expert("ffn_up_exps"),
          expert("ffn_down_exps", expertWidth),
        ]
      : [matrix("ffn_gate"), matrix("ffn_up"), matrix("ffn_down")];
  const layer = [
    vector("attn_norm"),
    ...[...attention, "attn_output"].map((name) => matrix(name)),
    ...network,
  ];
  const all = [matrix("token_embd"), vector("output_norm"), ...(tied ? [] : [matrix("output")])];
  for (let index = 0; index < layers; index++) {
    all.push(...layer.map(({ name, shape }) => ({ name: `blk.${index}.${name}`, shape })));
  }
  return [...all, ...more.map((name) => ({ name, shape: [columns, rows] }))];
}
