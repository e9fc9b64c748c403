import type { Tensor } from "../ggml/tensor.ts";
import type { Metadata } from "../gguf/metadata.ts";
import { ArchitectureKeys, require } from "./architecture-keys.ts";
import type { Blocks } from "./blocks.ts";
import { encoderAttention } from "./encoder-attention.ts";
import type { TensorSpec } from "./family.ts";
import { type Hyperparameters, readHyperparameters } from "./hyperparameters.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * What encoders of BERT's kind have in common: every token sees all others, norms by mean and deviation come behind the
 * residual sums, and the last layer's output is the result.
 */

/** How tokens learn where they stand. */
export type Positions = "table" | "rope";

/** @throws StowageError as `readHyperparameters`; model_invalid for one whose tokens do not see those behind them */
export function readEncoder(metadata: Metadata): Hyperparameters {
  const keys = new ArchitectureKeys(metadata);
  const causal = keys.key("attention.causal");
  require(!metadata.has(causal) || !metadata.boolean(causal), causal, "true", "false");
  const h = readHyperparameters(metadata, "halves", { epsilonKey: "attention.layer_norm_epsilon" });
  require(h.experts === 0, keys.key("expert_count"), h.experts, "0");
  const tokenTypes = metadata.number("tokenizer.ggml.token_type_count", 1);
  return { ...h, encoder: { tokenTypes } };
}

/** @param vocabulary tokens */
export function encoderGlobals(h: Hyperparameters, vocabulary: number, positions: Positions): TensorSpec[] {
  const { width } = h;
  const table: TensorSpec = { name: "position_embd.weight", shape: [width, h.contextTrained], use: "router" };
  return [
    { name: "token_embd.weight", shape: [width, vocabulary], use: "router" },
    { name: "token_types.weight", shape: [width, h.encoder!.tokenTypes], use: "vector" },
    ...(positions === "table" ? [table] : []),
    ...layerNorm("token_embd_norm", width),
  ];
}

/** Weights and bias of a norm by mean and deviation. */
export function layerNorm(name: string, width: number): TensorSpec[] {
  return [
    { name: `${name}.weight`, shape: [width], use: "vector" },
    { name: `${name}.bias`, shape: [width], use: "vector" },
  ];
}

/** Token, type and position, added up and normed. All tokens have the first type: texts come alone, not in pairs. */
export function encoderEmbeddings(blocks: Blocks, positions: Positions): Tensor {
  const { context } = blocks.scope;
  const { globals, memory, hyperparameters } = blocks.parts;
  const firstType = context.view(globals.tensor("token_types.weight"), [hyperparameters.width], [], 0);
  let x = context.add(blocks.embed(), firstType);
  if (positions === "table") {
    const rows = context.getRows(globals.tensor("position_embd.weight"), memory.positions);
    x = context.add(rows, x);
  }
  return blocks.layerNorm(x, globals, "token_embd_norm");
}

/** One layer: attention and a feed-forward network, each with its residual sum and the norm behind it. */
export function encoderLayer(
  blocks: Blocks,
  weights: LayerWeights,
  x: Tensor,
  positions: Positions,
  network: (x: Tensor) => Tensor,
): Tensor {
  const { context } = blocks.scope;
  const attended = encoderAttention(blocks, weights, x, positions);
  const middle = blocks.layerNorm(context.add(attended, blocks.outputRows(x)), weights, "attn_output_norm");
  return blocks.layerNorm(context.add(network(middle), middle), weights, "layer_output_norm");
}
