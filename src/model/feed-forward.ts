import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import { rowsOf } from "./projection.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * What becomes of gate and up: silu(gate) · up, gelu(gate) · up, relu(gate) · up, or gpt-oss's, which bounds both and has a steeper
 * sigmoid and up + 1.
 */
export type Activation = "silu" | "gelu" | "relu" | "swiglu_oai";

/** Of gpt-oss; files do not tell them. */
const oaiAlpha = 1.702;
const oaiLimit = 7;

/** The activation of a network whose gate and up have their own rows. */
export function activate({ scope: { context }, hyperparameters }: Blocks, gate: Tensor, up: Tensor): Tensor {
  switch (hyperparameters.activation) {
    case "silu":
      return context.swigluSplit(gate, up);
    case "gelu":
      return context.gegluSplit(gate, up);
    case "relu":
      return context.regluSplit(gate, up);
    case "swiglu_oai":
      return context.swigluOai(gate, up, oaiAlpha, oaiLimit);
  }
}

/** The activation where gate and up are one product, gate's rows first. */
export function activateJoined({ scope: { context }, hyperparameters }: Blocks, both: Tensor): Tensor {
  const { activation } = hyperparameters;
  if (activation === "silu") return context.swiglu(both);
  if (activation === "gelu") return context.geglu(both);
  if (activation === "relu") return context.reglu(both);
  throw new Error(`gate and up are not to be joined with ${activation}`);
}

/**
 * down(activation of gate(x) and up(x)), without norm and residual sum. Where a file has no gate by itself, its rows are
 * the first half of up's.
 * @param suffix of the weights' names: "" for `ffn_gate.weight` and so on, "_shexp" for those of a shared expert
 */
export function gatedNetwork(blocks: Blocks, weights: LayerWeights, x: Tensor, suffix: string): Tensor {
  const { context } = blocks.scope;
  const [gateName, upName] = [`ffn_gate${suffix}.weight`, `ffn_up${suffix}.weight`];
  const down = (hidden: Tensor) => blocks.product(weights, `ffn_down${suffix}.weight`, hidden);
  if (!weights.find(gateName)) return down(activateJoined(blocks, blocks.product(weights, upName, x)));
  const [gate, up] = blocks.project(weights, [gateName, upName], x);
  return down(
    gate!.source === up!.source
      ? activateJoined(blocks, gate!.source)
      : activate(blocks, rowsOf(context, gate!), rowsOf(context, up!)),
  );
}

/** The expert that every token takes; some families weigh it by a gate for each token. */
export function sharedExpert(blocks: Blocks, weights: LayerWeights, x: Tensor): Tensor {
  const { context } = blocks.scope;
  const output = gatedNetwork(blocks, weights, x, "_shexp");
  const gate = "ffn_gate_inp_shexp.weight";
  return weights.find(gate) ? context.mul(output, context.sigmoid(blocks.product(weights, gate, x))) : output;
}
