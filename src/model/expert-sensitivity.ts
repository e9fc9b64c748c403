import { StowageError } from "../errors.ts";
import type { ExpertLayout } from "../experts/layout.ts";
import { dequantizeRows } from "../ggml/quantize.ts";
import type { GgufFile, GgufTensor } from "../gguf/read.ts";
import { type ByteSource, openFileSource } from "../gguf/source.ts";
import { expertWeights } from "./expert-network.ts";
import type { Importance } from "./importance.ts";

/** [layer][expert], null for a layer without experts. */
export type Sensitivities = readonly (readonly number[] | null)[];

export interface SensitivityOptions {
  /** Told after each layer: bytes of experts done, and in all. */
  readonly progress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * By how much the output of each expert changes when its weights are those of `low`, in squares summed over its uses in
 * the text that the importance matrix was learnt from: rare experts matter less. With s the sums of squares of what a
 * matrix is multiplied with, by column, and D the difference of its weights, its product changes by Σ s·D² of Σ s·W²;
 * these shares of the three matrices are added, and their sum is taken of what the expert gives, Σ s·W² of its last
 * matrix. Columns count as if they were independent.
 * @param low the same model, of the same shapes
 * @throws StowageError sensitivity_imatrix, gguf_unreadable, gguf_truncated, quantize_type
 */
export async function measureSensitivity(
  file: GgufFile,
  low: GgufFile,
  { layers, experts, layerClass, sources }: ExpertLayout,
  importance: Importance,
  { progress, signal }: SensitivityOptions = {},
): Promise<Sensitivities> {
  const [full, copies] = [await Slices.open(file, experts), await Slices.open(low, experts)];
  try {
    const all: (number[] | null)[] = [];
    const bytes = sources.flat(2).reduce((sum, tensor) => sum + tensor.bytes, 0);
    for (let layer = 0; layer < layers; layer++) {
      signal?.throwIfAborted();
      const names = expertWeights.map((weight) => `blk.${layer}.${weight}`);
      const ofExpert = (expert: number) =>
        Promise.all(names.map((name) => changeOf(full, copies, importance, name, expert)));
      if (layerClass[layer] === null) all.push(null);
      else {
        const mine: number[] = [];
        for (let expert = 0; expert < experts; expert++) mine.push(changeOfOutput(await ofExpert(expert)));
        all.push(mine);
      }
      progress?.((bytes * (layer + 1)) / layers, bytes);
    }
    return all;
  } finally {
    await full.close();
    await copies.close();
  }
}

/** Of the products with one matrix, summed over the uses: their squares, and those of their changes. */
interface Change {
  readonly squares: number;
  readonly changes: number;
}

/** @param matrices of `expertWeights`, the last one gives the output */
function changeOfOutput(matrices: readonly Change[]): number {
  const shares = matrices.map(({ squares, changes }) => (squares > 0 ? changes / squares : 0));
  return matrices.at(-1)!.squares * shares.reduce((sum, share) => sum + share, 0);
}

async function changeOf(
  full: Slices,
  copies: Slices,
  { entries }: Importance,
  name: string,
  expert: number,
): Promise<Change> {
  const [columns] = full.shapeOf(name);
  const sums = entries.get(name)?.sums;
  if (sums?.length !== columns * full.experts) {
    const needed = columns * full.experts;
    throw new StowageError("sensitivity_imatrix", { name, found: sums?.length ?? 0, needed });
  }
  const [values, lows] = await Promise.all([full.values(name, expert), copies.values(name, expert)]);
  let [squares, changes] = [0, 0];
  const first = expert * columns;
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    const change = value - lows[index]!;
    const weight = sums[first + (index % columns)]!;
    squares += weight * value * value;
    changes += weight * change * change;
  }
  return { squares, changes };
}

/** The experts' matrices of a file, one by one as F32. */
class Slices {
  readonly experts: number;
  readonly #file: GgufFile;
  readonly #sources: readonly ByteSource[];

  static async open(file: GgufFile, experts: number): Promise<Slices> {
    const sources: ByteSource[] = [];
    try {
      for (const { path } of file.shards) sources.push(await openFileSource(path));
      return new Slices(file, experts, sources);
    } catch (error) {
      for (const source of sources) await source.close();
      throw error;
    }
  }

  private constructor(file: GgufFile, experts: number, sources: readonly ByteSource[]) {
    this.experts = experts;
    this.#file = file;
    this.#sources = sources;
  }

  /** Columns and rows of one expert's matrix. */
  shapeOf(name: string): [number, number] {
    const [columns = 0, rows = 0] = this.#tensor(name).shape;
    return [columns, rows];
  }

  async values(name: string, expert: number): Promise<Float32Array> {
    const { type, bytes, offset, shard } = this.#tensor(name);
    const [columns, rows] = this.shapeOf(name);
    const each = bytes / this.experts;
    const raw = new Uint8Array(each);
    await this.#sources[shard]!.read(raw, offset + expert * each);
    const values = new Float32Array(columns * rows);
    await dequantizeRows(type, raw, values);
    return values;
  }

  async close(): Promise<void> {
    for (const source of this.#sources) await source.close();
  }

  #tensor(name: string): GgufTensor {
    return this.#file.tensors.get(name)!;
  }
}
