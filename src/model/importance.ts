import { StowageError } from "../errors.ts";
import type { GgufTensor } from "../gguf/read.ts";
import { roleOf } from "./tensor-mix.ts";

/** What was seen of the rows that a tensor's matrices were multiplied with. */
export interface ImportanceEntry {
  /** Sums of squares by column, [columns] of each matrix in turn. */
  readonly sums: Float32Array;
  /** Rows that each matrix was multiplied with, [matrices]; one number where all have the same. */
  readonly counts: Float32Array;
}

/** An importance matrix: how much the columns of a model's matrices matter, learnt from a text. */
export interface Importance {
  /** By the name of the tensor. */
  readonly entries: ReadonlyMap<string, ImportanceEntry>;
  /** The texts that it was made of. */
  readonly datasets: readonly string[];
  readonly chunks: number;
  /** Tokens of a chunk. */
  readonly chunkTokens: number;
}

/**
 * The mean square of each column's activations; 1 for all columns of an expert that was never chosen.
 * @returns [columns · matrices], as `entry.sums`
 */
export function meanSquares({ sums, counts }: ImportanceEntry): Float32Array {
  const columns = sums.length / counts.length;
  return sums.map((sum, index) => {
    const count = counts[Math.floor(index / columns)]!;
    return count > 0 ? sum / count : 1;
  });
}

/**
 * What a tensor is quantised with; undefined where nothing is known of it. Embeddings are looked up, not multiplied:
 * statistics by their name are often those of something else.
 * @returns [columns · matrices]
 * @throws StowageError imatrix_shape
 */
export function importanceOf(
  { entries }: Importance,
  { name, shape: [columns = 1, , matrices = 1] }: GgufTensor,
): Float32Array | undefined {
  const entry = entries.get(name);
  if (!entry) return undefined;
  const needed = columns * matrices;
  if (entry.sums.length === needed) return meanSquares(entry);
  if (roleOf(name) === "embedding") return undefined;
  throw new StowageError("imatrix_shape", { name, found: entry.sums.length, needed });
}
