import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks, ExpertPath } from "./blocks.ts";
import { biasById, type ExpertBias, type ExpertProducts, expertNetwork } from "./expert-network.ts";
import type { Routing } from "./router.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * All chosen experts in the current graph, by `mul_mat_id`: the router's choice never leaves native memory.
 * The path of decode, where each expert has a row or two.
 */
export const expertsTogether: ExpertPath = {
  async run(blocks: Blocks, weights: LayerWeights, x: Tensor, normed: Tensor, routing: Routing) {
    const { context } = blocks.scope;
    const { expertsUsed } = blocks.hyperparameters;
    const { ranking } = routing;
    const chosen = context.view(ranking, [expertsUsed, normed.shape[1]], [ranking.strides[1]], 0);
    const products: ExpertProducts = {
      joined: weights.joined("ffn_gate_exps.weight", "ffn_up_exps.weight"),
      product: (name, rows) => context.mulMatId(weights.weight(name).tensor, rows, chosen),
    };
    return sumOfChosen(blocks, products, biasById(context, weights, chosen), x, normed, routing.weights);
  },
};

/** x + the weighted sum of the experts that `products` chooses for each row of `normed`. */
export function sumOfChosen(
  blocks: Blocks,
  products: ExpertProducts,
  bias: ExpertBias,
  x: Tensor,
  normed: Tensor,
  weights: Tensor,
): Tensor {
  const { context } = blocks.scope;
  const [width, tokens] = normed.shape;
  const down = expertNetwork(blocks, products, bias, context.reshape3d(normed, width, 1, tokens));
  return context.add(context.reshape2d(context.outerProduct(down, weights), width, tokens), x);
}
