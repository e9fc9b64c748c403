import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks, ExpertPath, Routing } from "./blocks.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * All chosen experts in the current graph, by `mul_mat_id`: the router's choice never leaves native memory.
 * The path of decode, where each expert has a row or two.
 */
export const expertsTogether: ExpertPath = {
  async run(blocks: Blocks, weights: LayerWeights, x: Tensor, normed: Tensor, routing: Routing) {
    const { context } = blocks.scope;
    const { expertsUsed } = blocks.hyperparameters;
    const [width, tokens] = normed.shape;
    const { ranking } = routing;
    const chosen = context.view(ranking, [expertsUsed, tokens], [ranking.strides[1]], 0);
    const rows = context.reshape3d(normed, width, 1, tokens);
    const gate = weights.weight("ffn_gate_exps.weight").tensor;
    const up = weights.weight("ffn_up_exps.weight").tensor;
    const hidden =
      gate === up
        ? context.swiglu(context.mulMatId(gate, rows, chosen))
        : context.swigluSplit(context.mulMatId(gate, rows, chosen), context.mulMatId(up, rows, chosen));
    const down = context.mulMatId(weights.tensor("ffn_down_exps.weight"), hidden, chosen);
    const sum = context.outerProduct(down, routing.weights);
    return context.add(context.reshape2d(sum, width, tokens), x);
  },
};
