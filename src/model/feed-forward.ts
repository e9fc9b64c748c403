import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import { rowsOf } from "./projection.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * down(silu(gate(x)) · up(x)), without norm and residual sum.
 * @param suffix of the weights' names: "" for `ffn_gate.weight` and so on, "_shexp" for those of a shared expert
 */
export function gatedNetwork(blocks: Blocks, weights: LayerWeights, x: Tensor, suffix: string): Tensor {
  const { context } = blocks.scope;
  const names = [`ffn_gate${suffix}.weight`, `ffn_up${suffix}.weight`];
  const [gate, up] = blocks.project(weights, names, x);
  const hidden =
    gate!.source === up!.source
      ? context.swiglu(gate!.source)
      : context.swigluSplit(rowsOf(context, gate!), rowsOf(context, up!));
  return blocks.product(weights, `ffn_down${suffix}.weight`, hidden);
}
