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
import { wordPieceVocabulary } from "./vocabularies.ts";

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

/** Latent attention. Heads of 96, of which 32 are rotated, are no multiple of what kernels take at once. */
const latent = {
  "attention.kv_lora_rank": gguf.u32(256),
  "rope.dimension_count": gguf.u32(32),
};

/** Three layers of which the first is dense, and a shared expert. */
const mixedLayers = {
  feed_forward_length: gguf.u32(512),
  leading_dense_block_count: gguf.u32(1),
  expert_shared_count: gguf.u32(2),
};

/** Of DeepSeek-V2-Lite: one matrix makes keys and values of all heads. */
export const tinyLatentHeads: SyntheticShape = {
  ...tinyExperts,
  architecture: "deepseek2",
  layers: 3,
  headWidth: 96,
  metadata: {
    ...mixedLayers,
    ...latent,
    "attention.q_lora_rank": gguf.u32(0),
    "attention.value_length": gguf.u32(64),
  },
};

/** What encoders' files say beside the common keys. */
const encoderKeys = {
  "attention.layer_norm_epsilon": gguf.f32(1e-12),
  "attention.causal": gguf.bool(false),
  pooling_type: gguf.u32(1),
};
const wordPieces = wordPieceVocabulary();
const tinyEncoder = {
  ...tinyDense,
  tokenizer: wordPieces,
  vocabulary: (wordPieces["tokenizer.ggml.tokens"]!.value as string[]).length,
  metadata: encoderKeys,
} as const;

/** By architecture. */
export const tinyShapes: Readonly<Record<string, SyntheticShape>> = {
  bert: { ...tinyEncoder, architecture: "bert" },
  // As DeepSeek V3: a matrix of keys and one of values for each head, sigmoids.
  deepseek2: {
    ...tinyExperts,
    architecture: "deepseek2",
    layers: 3,
    kvHeads: 1,
    headWidth: 256 + 32,
    metadata: {
      ...mixedLayers,
      ...latent,
      "attention.q_lora_rank": gguf.u32(256),
      "attention.value_length": gguf.u32(256),
      "attention.key_length_mla": gguf.u32(96),
      "attention.value_length_mla": gguf.u32(64),
      expert_gating_func: gguf.u32(2),
      expert_weights_norm: gguf.bool(true),
      expert_weights_scale: gguf.f32(1.5),
    },
  },
  gemma: { ...tinyDense, architecture: "gemma" },
  // Every second layer has the window.
  gemma2: {
    ...tinyDense,
    architecture: "gemma2",
    metadata: {
      "attention.sliding_window": gguf.u32(20),
      attn_logit_softcapping: gguf.f32(5),
      final_logit_softcapping: gguf.f32(10),
    },
  },
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
  // Half of each head is rotated.
  glm4moe: {
    ...tinyExperts,
    architecture: "glm4moe",
    layers: 3,
    metadata: {
      ...mixedLayers,
      "rope.dimension_count": gguf.u32(32),
      expert_gating_func: gguf.u32(2),
      expert_weights_norm: gguf.bool(true),
      expert_weights_scale: gguf.f32(1.5),
    },
  },
  // A layer with a window that prompts of 48 tokens are longer than, and one without.
  "gpt-oss": {
    ...tinyExperts,
    architecture: "gpt-oss",
    kvHeads: 2,
    metadata: { "attention.sliding_window": gguf.u32(20) },
  },
  llama: { ...tinyExperts, architecture: "llama" },
  mistral3: { ...tinyDense, architecture: "mistral3" },
  "nomic-bert": { ...tinyEncoder, architecture: "nomic-bert" },
  olmoe: { ...tinyExperts, architecture: "olmoe" },
  phi3: { ...tinyDense, architecture: "phi3" },
  phimoe: { ...tinyExperts, architecture: "phimoe" },
  // The first layer knows no positions.
  smallthinker: {
    ...tinyExperts,
    architecture: "smallthinker",
    layers: 3,
    metadata: { expert_gating_func: gguf.u32(2), "attention.sliding_window": gguf.u32(4096) },
  },
  qwen2: { ...tinyDense, architecture: "qwen2" },
  qwen2moe: {
    ...tinyExperts,
    architecture: "qwen2moe",
    metadata: { expert_shared_feed_forward_length: gguf.u32(512) },
  },
  qwen3: { ...tinyDense, architecture: "qwen3" },
  qwen3moe: { ...tinyExperts, architecture: "qwen3moe" },
};
