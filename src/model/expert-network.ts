import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";

/** The weights of a layer that belong to its routed experts, [k, rows, experts] each: a gated network. */
export const expertWeights = ["ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"] as const;

export type ExpertWeight = (typeof expertWeights)[number];

/** Where an expert's weights are multiplied with rows: one expert's matrices, or many with the choice of each row. */
export interface ExpertProducts {
  /** Whether gate and up lie in one matrix, gate's rows first. */
  readonly joined: boolean;
  product(weight: ExpertWeight, rows: Tensor): Tensor;
}

/** down(silu(gate(rows)) · up(rows)). */
export function expertNetwork(context: Context, { joined, product }: ExpertProducts, rows: Tensor): Tensor {
  const gate = product("ffn_gate_exps.weight", rows);
  const hidden = joined
    ? context.swiglu(gate)
    : context.swigluSplit(gate, product("ffn_up_exps.weight", rows));
  return product("ffn_down_exps.weight", hidden);
}
