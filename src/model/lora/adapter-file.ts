import { StowageError } from "../../errors.ts";
import { type GgufFile, type GgufTensor, openGguf } from "../../gguf/read.ts";
import { expertWeights } from "../expert-network.ts";
import type { WeightLayout } from "../layout.ts";

/** The two factors that are added to one weight of the base model: x becomes weight · x + scale · b · (a · x). */
export interface AdapterPair {
  /** Name of the weight, as in `blk.0.attn_q.weight`. */
  readonly weight: string;
  /** [k, rank]; of token embeddings [rank, vocabulary]. */
  readonly a: GgufTensor;
  /** [rank, rows]; of token embeddings [rank, width]. */
  readonly b: GgufTensor;
  readonly rank: number;
  /** alpha / rank; 1 in a file without alpha. */
  readonly scale: number;
}

/** A LoRA adapter's file, checked against the model that it is for. Holds no open file. */
export interface AdapterFile {
  readonly path: string;
  readonly file: GgufFile;
  readonly pairs: readonly AdapterPair[];
  /** Bytes of its file. */
  readonly bytes: number;
}

const suffix = /^(.*)\.lora_([ab])$/;
export const embeddings = "token_embd.weight";

/**
 * Reads and checks an adapter in GGUF format, as llama.cpp's `convert_lora_to_gguf.py` writes them. Reads no tensor data.
 * @param base the model that it is for, and where its weights go
 * @throws StowageError gguf_*, lora_kind for a file that is no LoRA adapter, lora_base for one of another architecture or
 *   with a tensor that the model has not, lora_tensor for one that cannot be used, lora_shape
 */
export async function readAdapter(
  path: string,
  base: { readonly file: GgufFile; readonly layout: WeightLayout },
): Promise<AdapterFile> {
  const file = await openGguf(path);
  const { metadata } = file;
  checkKind(file, "general.type", "adapter");
  checkKind(file, "adapter.type", "lora");
  const architecture = metadata.string("general.architecture");
  const expected = base.layout.hyperparameters.architecture;
  if (architecture !== expected) {
    throw new StowageError("lora_base", { path, what: `is for ${architecture} models`, expected });
  }
  const alpha = metadata.number("adapter.lora.alpha", 0);
  if (!Number.isFinite(alpha) || alpha < 0) {
    throw refused(path, "adapter.lora.alpha", `it is ${alpha}, and has to be a number from 0 on`);
  }
  const pairs = [...pairsOf(file)].map(([weight, { a, b }]) => {
    if (!a || !b)
      throw refused(path, `${weight}.lora_${a ? "a" : "b"}`, "the other one of the pair is missing");
    const known = checkWeight(path, weight, base);
    const rank = b.shape[0]!;
    checkShapes(path, weight, known.shape, a, b);
    checkType(path, a);
    checkType(path, b);
    return { weight, a, b, rank, scale: alpha === 0 ? 1 : alpha / rank };
  });
  if (pairs.length === 0) throw refused(path, "its tensors", "there is no pair of lora_a and lora_b");
  const bytes = file.shards.reduce((sum, shard) => sum + shard.bytes, 0);
  return { path, file, pairs, bytes };
}

function checkKind({ metadata, path }: GgufFile, key: string, expected: string): void {
  const found = metadata.string(key, "missing");
  if (found !== expected) throw new StowageError("lora_kind", { path, key, found, expected });
}

function pairsOf({ tensors, path }: GgufFile): Map<string, { a?: GgufTensor; b?: GgufTensor }> {
  const pairs = new Map<string, { a?: GgufTensor; b?: GgufTensor }>();
  for (const [name, tensor] of tensors) {
    const [, weight, half] = suffix.exec(name) ?? [];
    if (!weight) throw refused(path, name, "only pairs that end in .lora_a and .lora_b can be used");
    pairs.set(weight, { ...pairs.get(weight), [half!]: tensor });
  }
  return pairs;
}

/** The weight that a pair is for. */
function checkWeight(
  path: string,
  name: string,
  { file, layout }: { file: GgufFile; layout: WeightLayout },
): GgufTensor {
  const tensor = file.tensors.get(name);
  const expected = layout.hyperparameters.architecture;
  if (!tensor) throw new StowageError("lora_base", { path, what: `has a pair for ${name}`, expected });
  const short = name.replace(/^blk\.\d+\./, "");
  if ((expertWeights as readonly string[]).includes(short)) {
    throw refused(path, name, "adapters of routed experts are not supported");
  }
  const tied = !file.tensors.has("output.weight");
  if (name === embeddings && tied) {
    throw refused(
      path,
      name,
      "the model's output is this tensor too, and adapters of both at once are not supported",
    );
  }
  const global = short === name;
  if (tensor.shape.length !== 2 || (global && name !== embeddings && name !== "output.weight")) {
    throw refused(path, name, "it is no matrix that activations are multiplied with");
  }
  return tensor;
}

function checkShapes(
  path: string,
  name: string,
  shape: readonly number[],
  a: GgufTensor,
  b: GgufTensor,
): void {
  const [k, rows] = shape as [number, number];
  const [a0, a1] = matrix(a);
  const [b0, b1] = matrix(b);
  const fits =
    name === embeddings ? a0 === b0 && a1 === rows && b1 === k : a0 === k && a1 === b0 && b1 === rows;
  if (fits && a.shape.length <= 2 && b.shape.length <= 2) return;
  throw new StowageError("lora_shape", {
    path,
    name,
    a: a.shape.join(" x "),
    b: b.shape.join(" x "),
    base: shape.join(" x "),
  });
}

/** Extents of a tensor, whose last one may be left out where it is 1. */
export function matrix({ shape: [first = 1, second = 1] }: GgufTensor): [number, number] {
  return [first, second];
}

/** Types that the CPU multiplies with F32 activations. */
function checkType(path: string, { name, type }: GgufTensor): void {
  if (/^(I\d+|F64)$/.test(type))
    throw refused(path, name, `it is ${type}, and has to be a float or quantised type`);
}

function refused(path: string, name: string, reason: string): StowageError {
  return new StowageError("lora_tensor", { path, name, reason });
}
