import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import { activate, activateJoined } from "./feed-forward.ts";
import type { LayerWeights } from "./weights.ts";

/** The weights of a layer that belong to its routed experts, [k, rows, experts] each: a gated network. */
export const expertWeights = ["ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"] as const;

export type ExpertWeight = (typeof expertWeights)[number];

/** Where an expert's weights are multiplied with rows: one expert's matrices, or many with the choice of each row. */
export interface ExpertProducts {
  /** Whether gate and up lie in one matrix, gate's rows first. */
  readonly joined: boolean;
  product(weight: ExpertWeight, rows: Tensor): Tensor;
}

/** Adds the biases of experts to a product with one of their weights, where the model has some. */
export type ExpertBias = (weight: ExpertWeight, product: Tensor) => Tensor;

/**
 * Biases of the experts that each row has chosen.
 * @param ids experts, not slots, I32 [experts used, rows]
 */
export function biasById(context: Context, weights: LayerWeights, ids: Tensor): ExpertBias {
  return (weight, product) => {
    const bias = biasesOf(weights, weight);
    return bias ? context.addId(product, bias, ids) : product;
  };
}

/** Biases of one expert. */
export function biasOfOne(context: Context, weights: LayerWeights, expert: number): ExpertBias {
  return (weight, product) => {
    const bias = biasesOf(weights, weight);
    if (!bias) return product;
    const [rows] = bias.shape;
    const [, expertStride] = bias.strides;
    return context.add(product, context.view(bias, [rows], [], expert * expertStride));
  };
}

/** [rows, experts] */
function biasesOf(weights: LayerWeights, weight: ExpertWeight): Tensor | undefined {
  return weights.find(weight.replace(".weight", ".bias"))?.tensor;
}

/** down(activation of gate(rows) and up(rows)), each with its bias. */
export function expertNetwork(
  blocks: Blocks,
  { joined, product }: ExpertProducts,
  bias: ExpertBias,
  rows: Tensor,
): Tensor {
  const biased = (weight: ExpertWeight, input: Tensor) => bias(weight, product(weight, input));
  const gate = biased("ffn_gate_exps.weight", rows);
  const hidden = joined
    ? activateJoined(blocks, gate)
    : activate(blocks, gate, biased("ffn_up_exps.weight", rows));
  return biased("ffn_down_exps.weight", hidden);
}
