import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import { attend } from "./flash-attention.ts";
import { ropeOf } from "./hyperparameters.ts";
import { headsOf, type Projection, rowsOf } from "./projection.ts";
import { queriesKeysValues } from "./queries-keys-values.ts";
import { ropeFactors } from "./rope-factors.ts";
import { jointHeadNorm, type LayerWeights } from "./weights.ts";

/** Where queries and keys are normalised inside attention. */
export type AttentionNorms = "none" | "each head" | "all heads";

/** How the attention of a layer differs from layer to layer, and from family to family. */
export interface AttentionOptions {
  readonly norms: AttentionNorms;
}

/**
 * Causal self-attention with grouped queries and RoPE, without norm and residual sum. Writes the new keys and values
 * into their cells. In the last layer only the tokens that need logits go on.
 * @param normed [width, tokens]
 * @returns [width, tokens], or [width, outputs] in the last layer
 */
export function selfAttention(
  blocks: Blocks,
  weights: LayerWeights,
  normed: Tensor,
  options: AttentionOptions,
): Tensor {
  const [q, k, v] = queriesKeysValues(blocks, weights, normed);
  const [queries, keys] = rotatedHeads(blocks, weights, q, k, options.norms);
  storeKeys(blocks, keys);
  storeValues(blocks, rowsOf(blocks.scope.context, v));
  const sinks = weights.find("attn_sinks.weight")?.tensor;
  const attended = blocks.outputRows(attend(blocks, queries, sinks));
  return blocks.product(weights, "attn_output.weight", attended);
}

/**
 * Queries [head width, heads, tokens] and keys [head width, kv heads, tokens], normalised and rotated: in one go
 * where they come out of one product.
 */
function rotatedHeads(
  blocks: Blocks,
  weights: LayerWeights,
  q: Projection,
  k: Projection,
  norms: AttentionNorms,
): [Tensor, Tensor] {
  const { context } = blocks.scope;
  const { heads, kvHeads, headWidth } = blocks.hyperparameters;
  const headsAt = (projection: Projection, count: number) => headsOf(context, projection, headWidth, count);
  const joint = weights.find(jointHeadNorm) !== undefined;
  if (q.source === k.source && (norms === "none" || (norms === "each head" && joint))) {
    const both = headsAt(q, heads + kvHeads);
    const rotated = rope(blocks, joint ? blocks.norm(both, weights, "attn_qk_norm") : both);
    return [someHeads(blocks, rotated, 0, heads), someHeads(blocks, rotated, heads, kvHeads)];
  }
  if (norms === "none") return [rope(blocks, headsAt(q, heads)), rope(blocks, headsAt(k, kvHeads))];
  if (norms === "each head") {
    const queries = blocks.norm(headsAt(q, heads), weights, "attn_q_norm");
    const keys = blocks.norm(headsAt(k, kvHeads), weights, "attn_k_norm");
    return [rope(blocks, queries), rope(blocks, keys)];
  }
  const split = (x: Tensor, count: number) => context.reshape3d(x, headWidth, count, x.shape[1]);
  const queries = blocks.norm(rowsOf(context, q), weights, "attn_q_norm");
  const keys = blocks.norm(rowsOf(context, k), weights, "attn_k_norm");
  return [rope(blocks, split(queries, heads)), rope(blocks, split(keys, kvHeads))];
}

/** x [head width, heads, tokens], rotated by its tokens' positions; in layers without positions as it is. */
export function rope(blocks: Blocks, x: Tensor): Tensor {
  const { memory, hyperparameters } = blocks.parts;
  const { scope, layer } = blocks;
  if (hyperparameters.unrotated?.[layer]) return x;
  return scope.context.rope(x, memory.positions, ropeOf(hyperparameters, layer), ropeFactors(blocks.parts));
}

/** @param keys [head width, kv heads, tokens] */
export function storeKeys(blocks: Blocks, keys: Tensor): void {
  const { context, graph } = blocks.scope;
  const { kv, memory, hyperparameters } = blocks.parts;
  const width = hyperparameters.kvHeads * hyperparameters.headWidth;
  const flatKeys = context.view(keys, [width, keys.shape[2]], [keys.strides[2]], 0);
  const cells = kv.keys[blocks.layer]!;
  const target = context.view(cells, [width, cells.shape[1]], [cells.strides[1]], 0);
  graph.expand(context.setRows(target, flatKeys, memory.cells));
}

/** @param values [kv heads · value width, tokens] */
export function storeValues(blocks: Blocks, values: Tensor): void {
  const { context, graph } = blocks.scope;
  const { kv, memory } = blocks.parts;
  graph.expand(context.setRows(kv.values[blocks.layer]!, values, memory.cells));
}

function someHeads(blocks: Blocks, x: Tensor, first: number, count: number): Tensor {
  const [width, , tokens] = x.shape;
  const [, headStride, tokenStride] = x.strides;
  const extents = [width, count, tokens];
  return blocks.scope.context.view(x, extents, [headStride, tokenStride], first * headStride);
}
