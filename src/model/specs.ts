import type { AttentionNorms } from "./attention.ts";
import type { TensorSpec } from "./family.ts";
import type { Hyperparameters } from "./hyperparameters.ts";

/**
 * What decoders have outside of their layers: embeddings, the last norm, the output matrix, and factors by which
 * some files scale the frequencies of RoPE one by one.
 */
export function globalTensors(h: Hyperparameters, vocabulary: number): TensorSpec[] {
  const shape = [h.rope.dimensions / 2];
  const factors = ropeFactorNames(h).map((name) => ({ name, shape, use: "vector", optional: true }) as const);
  return [...plainGlobalTensors(h, vocabulary), ...factors];
}

/** The same in families whose RoPE has no such factors. */
export function plainGlobalTensors(h: Hyperparameters, vocabulary: number): TensorSpec[] {
  return [
    { name: "token_embd.weight", shape: [h.width, vocabulary], use: "router" },
    { name: "output_norm.weight", shape: [h.width], use: "vector" },
    { name: "output.weight", shape: [h.width, vocabulary], use: "matrix", optional: true },
  ];
}

/** Tensors by which a file may scale the frequencies of RoPE one by one; see `rope-factors.ts`. */
function ropeFactorNames({ longRope }: Hyperparameters): string[] {
  return longRope ? ["rope_factors_long.weight", "rope_factors_short.weight"] : ["rope_freqs.weight"];
}

/** Grouped-query attention: queries, keys and values are one matrix where their types agree. */
export function attentionTensors(h: Hyperparameters, norms: AttentionNorms): TensorSpec[] {
  const queries = h.heads * h.headWidth;
  const keys = h.kvHeads * h.headWidth;
  const specs: TensorSpec[] = [
    { name: "attn_norm.weight", shape: [h.width], use: "vector" },
    { name: "attn_q.weight", shape: [h.width, queries], use: "matrix", join: "attn_qkv" },
    { name: "attn_k.weight", shape: [h.width, keys], use: "matrix", join: "attn_qkv" },
    { name: "attn_v.weight", shape: [h.width, keys], use: "matrix", join: "attn_qkv" },
    { name: "attn_output.weight", shape: [queries, h.width], use: "matrix" },
  ];
  return norms === "none" ? specs : [...specs, ...attentionNorms(h, norms)];
}

/** Norms of queries and keys. */
export function attentionNorms(h: Hyperparameters, norms: "each head" | "all heads"): TensorSpec[] {
  const widthOf = (heads: number) => (norms === "each head" ? h.headWidth : heads * h.headWidth);
  return [
    { name: "attn_q_norm.weight", shape: [widthOf(h.heads)], use: "vector" },
    { name: "attn_k_norm.weight", shape: [widthOf(h.kvHeads)], use: "vector" },
  ];
}

/** What is added to the results of the weights, or of the norm, of this name. */
export function bias(name: string, rows: number): TensorSpec {
  return { name: `${name}.bias`, shape: [rows], use: "vector" };
}

/** Biases of queries, keys and values. */
export function attentionBiases(h: Hyperparameters): TensorSpec[] {
  const keys = h.kvHeads * h.headWidth;
  return [bias("attn_q", h.heads * h.headWidth), bias("attn_k", keys), bias("attn_v", keys)];
}

/** A norm behind attention or a feed-forward network, before the residual sum. */
export function postNorm(h: Hyperparameters, name: string): TensorSpec {
  return { name: `${name}.weight`, shape: [h.width], use: "vector", writesResidual: true };
}

/** A dense gated feed-forward network. @param norm name of its norm's weights */
export function denseTensors(h: Hyperparameters, norm = "ffn_norm"): TensorSpec[] {
  const hidden = h.feedForwardWidth;
  return [
    { name: `${norm}.weight`, shape: [h.width], use: "vector" },
    { name: "ffn_gate.weight", shape: [h.width, hidden], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_up.weight", shape: [h.width, hidden], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_down.weight", shape: [hidden, h.width], use: "matrix" },
  ];
}

/**
 * Routed experts, each a gated feed-forward network, and the one that every token takes, where there is one.
 * @param norm name of their norm's weights
 */
export function expertTensors(h: Hyperparameters, norm = "ffn_norm"): TensorSpec[] {
  const { experts, expertWidth: hidden, sharedExpertWidth: shared } = h;
  const specs: TensorSpec[] = [
    { name: `${norm}.weight`, shape: [h.width], use: "vector" },
    { name: "ffn_gate_inp.weight", shape: [h.width, experts], use: "router" },
    { name: "ffn_gate_exps.weight", shape: [h.width, hidden, experts], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_up_exps.weight", shape: [h.width, hidden, experts], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_down_exps.weight", shape: [hidden, h.width, experts], use: "matrix" },
  ];
  if (shared === 0) return specs;
  return [
    ...specs,
    { name: "ffn_gate_shexp.weight", shape: [h.width, shared], use: "matrix", join: "ffn_gate_up_shexp" },
    { name: "ffn_up_shexp.weight", shape: [h.width, shared], use: "matrix", join: "ffn_gate_up_shexp" },
    { name: "ffn_down_shexp.weight", shape: [shared, h.width], use: "matrix" },
  ];
}

/** Biases of routed experts and of the router. Gate and up have to be apart: see {@link apart}. */
export function expertBiases(h: Hyperparameters): TensorSpec[] {
  const { experts, expertWidth: hidden, width } = h;
  return [
    { name: "ffn_gate_inp.bias", shape: [experts], use: "vector" },
    { name: "ffn_gate_exps.bias", shape: [hidden, experts], use: "vector" },
    { name: "ffn_up_exps.bias", shape: [hidden, experts], use: "vector" },
    { name: "ffn_down_exps.bias", shape: [width, experts], use: "vector" },
  ];
}

/** The same tensors, none of them joined with its neighbours. */
export function apart(specs: readonly TensorSpec[]): TensorSpec[] {
  return specs.map(({ join: _, ...spec }) => spec);
}

/** Shifts the choice of experts, not their weights. */
export function selectionBias(h: Hyperparameters): TensorSpec {
  return { name: "exp_probs_b.bias", shape: [h.experts], use: "vector" };
}
