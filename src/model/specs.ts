import type { AttentionNorms } from "./attention.ts";
import type { TensorSpec } from "./family.ts";
import type { Hyperparameters } from "./hyperparameters.ts";

/**
 * What decoders have outside of their layers: embeddings, the last norm, the output matrix, and factors by which
 * some files scale the frequencies of RoPE one by one.
 */
export function globalTensors(h: Hyperparameters, vocabulary: number): TensorSpec[] {
  return [
    { name: "token_embd.weight", shape: [h.width, vocabulary], use: "router" },
    { name: "output_norm.weight", shape: [h.width], use: "vector" },
    { name: "output.weight", shape: [h.width, vocabulary], use: "matrix", optional: true },
    ...ropeFactorNames(h).map((name) => {
      const shape = [h.rope.dimensions / 2];
      return { name, shape, use: "vector", optional: true } as const;
    }),
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
  if (norms === "none") return specs;
  const each = norms === "each head";
  return [
    ...specs,
    { name: "attn_q_norm.weight", shape: [each ? h.headWidth : queries], use: "vector" },
    { name: "attn_k_norm.weight", shape: [each ? h.headWidth : keys], use: "vector" },
  ];
}

/** Biases of queries, keys and values. */
export function attentionBiases(h: Hyperparameters): TensorSpec[] {
  const queries = h.heads * h.headWidth;
  const keys = h.kvHeads * h.headWidth;
  return [
    { name: "attn_q.bias", shape: [queries], use: "vector" },
    { name: "attn_k.bias", shape: [keys], use: "vector" },
    { name: "attn_v.bias", shape: [keys], use: "vector" },
  ];
}

/** A norm behind attention or a feed-forward network, before the residual sum. */
export function postNorm(h: Hyperparameters, name: string): TensorSpec {
  return { name: `${name}.weight`, shape: [h.width], use: "vector", writesResidual: true };
}

/** A dense gated feed-forward network. */
export function denseTensors(h: Hyperparameters): TensorSpec[] {
  const hidden = h.feedForwardWidth;
  return [
    { name: "ffn_norm.weight", shape: [h.width], use: "vector" },
    { name: "ffn_gate.weight", shape: [h.width, hidden], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_up.weight", shape: [h.width, hidden], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_down.weight", shape: [hidden, h.width], use: "matrix" },
  ];
}

/** Routed experts, each a gated feed-forward network. */
export function expertTensors(h: Hyperparameters): TensorSpec[] {
  const { experts, expertWidth: hidden } = h;
  return [
    { name: "ffn_norm.weight", shape: [h.width], use: "vector" },
    { name: "ffn_gate_inp.weight", shape: [h.width, experts], use: "router" },
    { name: "ffn_gate_exps.weight", shape: [h.width, hidden, experts], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_up_exps.weight", shape: [h.width, hidden, experts], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_down_exps.weight", shape: [hidden, h.width, experts], use: "matrix" },
  ];
}
