import { openGguf } from "../src/gguf/read.ts";
import { gguf } from "../src/gguf/values.ts";
import { writeGguf } from "../src/gguf/write.ts";
import { Random } from "../src/model/random.ts";

/** A random adapter, of a size that changes what a model says. */
export interface TinyAdapter {
  readonly seed: number;
  readonly rank?: number;
  /** Default: the rank, so that it counts once. */
  readonly alpha?: number;
  /** Default F32. */
  readonly type?: "F32" | "F16";
  /** Names of weights that it has pairs for. Default: every matrix but embeddings and those of experts. */
  readonly weights?: RegExp;
}

const every = /^(output|blk\.\d+\.(attn_(q|k|v|output)|ffn_(gate|up|down)))\.weight$/;

/** Writes an adapter for the model at `base`, as llama.cpp's converter would. */
export async function writeTinyAdapter(
  path: string,
  base: string,
  { seed, rank = 4, alpha = rank, type = "F32", weights = every }: TinyAdapter,
): Promise<void> {
  const { metadata, tensors } = await openGguf(base);
  const random = new Random(seed);
  const pairs = [...tensors.values()]
    .filter(({ name, shape }) => shape.length === 2 && weights.test(name))
    .flatMap(({ name, shape: [k, rows] }) => {
      // The pair of embeddings lies the other way round.
      const [a, b] =
        name === "token_embd.weight"
          ? [
              [rank, rows!],
              [rank, k!],
            ]
          : [
              [k!, rank],
              [rank, rows!],
            ];
      return [
        { name: `${name}.lora_a`, type, shape: a!, deviation: 1 / Math.sqrt(k!) },
        { name: `${name}.lora_b`, type, shape: b!, deviation: 0.5 / Math.sqrt(rank) },
      ];
    });
  await writeGguf(path, {
    metadata: [
      ["general.type", gguf.string("adapter")],
      ["general.architecture", gguf.string(metadata.string("general.architecture"))],
      ["adapter.type", gguf.string("lora")],
      ["adapter.lora.alpha", gguf.f32(alpha)],
    ],
    tensors: pairs,
    data: ({ shape, deviation }) => {
      const values = new Float32Array(shape[0]! * shape[1]!);
      random.fillNormal(values, deviation);
      return bytesOf(type === "F16" ? Float16Array.from(values) : values);
    },
  });
}

function bytesOf({
  buffer,
  byteOffset,
  byteLength,
}: {
  buffer: ArrayBufferLike;
  byteOffset: number;
  byteLength: number;
}) {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
