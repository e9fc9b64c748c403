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
import { gguf } from "../src/gguf/values.ts";
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
  // A layer with a window that prompts of 48 tokens are longer than, and one without.
  gemma3: {
    ...tinyDense,
    architecture: "gemma3",
    metadata: {
      "attention.sliding_window_pattern": gguf.u32(2),
      "attention.sliding_window": gguf.u32(20),
      "rope.freq_base": gguf.f32(1e6),
      "rope.freq_base_swa": gguf.f32(5000),
      final_logit_softcapping: gguf.f32(10),
    },
  },
  llama: { ...tinyExperts, architecture: "llama" },
  mistral3: { ...tinyDense, architecture: "mistral3" },
  olmoe: { ...tinyExperts, architecture: "olmoe" },
  qwen2: { ...tinyDense, architecture: "qwen2" },
  qwen3: { ...tinyDense, architecture: "qwen3" },
  qwen3moe: { ...tinyExperts, architecture: "qwen3moe" },
};
