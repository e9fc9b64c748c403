/**
 * A small shape of every family, for tests that need a model of it. Written by `writeSyntheticModel`, such a model has
 * every tensor that the family lists, in random weights that route non-uniformly. To add a family: one entry here,
 * with `metadata` for what its `read` looks at beyond the common keys.
 *
 *     await writeSyntheticModel(path, { ...tinyShapes.qwen3!, type: "Q8_0", seed: 7 });
 *
 * `optionalTensors: true` writes those tensors too that a file of the family may lack; `tiedEmbeddings: true` leaves
 * the output matrix out. Rows are 256 elements at least, so that every type can be had.
 */
import type { SyntheticShape } from "../src/model/synth.ts";

/** A mixture of 8 experts, two layers, 4 heads of 64. */
export const tinyExperts = {
  layers: 2,
  width: 256,
  heads: 4,
  kvHeads: 4,
  headWidth: 64,
  feedForwardWidth: 512,
  experts: 8,
  expertsUsed: 2,
  expertWidth: 256,
  vocabulary: 512,
  context: 256,
  ropeBase: 10_000,
  normEpsilon: 1e-5,
} as const;

/** The same without experts. */
export const tinyDense = { ...tinyExperts, experts: 0, expertsUsed: 0 } as const;

/** By architecture. */
export const tinyShapes: Readonly<Record<string, SyntheticShape>> = {
  llama: { ...tinyExperts, architecture: "llama" },
  olmoe: { ...tinyExperts, architecture: "olmoe" },
  qwen3: { ...tinyDense, architecture: "qwen3" },
  qwen3moe: { ...tinyExperts, architecture: "qwen3moe" },
};
