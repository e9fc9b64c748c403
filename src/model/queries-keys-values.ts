import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import type { Projection } from "./projection.ts";
import type { LayerWeights } from "./weights.ts";

const fusedName = "attn_qkv.weight";

/** What queries, keys and values are made of, from x [width, tokens]; some files have their weights in one tensor. */
export function queriesKeysValues(
  blocks: Blocks,
  weights: LayerWeights,
  x: Tensor,
): [Projection, Projection, Projection] {
  const { heads, kvHeads, headWidth } = blocks.hyperparameters;
  if (!weights.find(fusedName)) {
    const names = ["attn_q.weight", "attn_k.weight", "attn_v.weight"];
    return blocks.project(weights, names, x) as [Projection, Projection, Projection];
  }
  const [fused] = blocks.project(weights, [fusedName], x) as [Projection];
  const keys = kvHeads * headWidth;
  const queries = heads * headWidth;
  const part = (first: number, rows: number) => ({ ...fused, first: fused.first + first, rows });
  return [part(0, queries), part(queries, keys), part(queries + keys, keys)];
}
