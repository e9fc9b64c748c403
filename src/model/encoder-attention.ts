import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import type { Positions } from "./encoder.ts";
import { headsOf, type Projection } from "./projection.ts";
import { queriesKeysValues } from "./queries-keys-values.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * Self-attention in which every token of a sequence sees all others: one call a sequence over its own keys and values,
 * which are kept nowhere. Without norm and residual sum. In the last layer only the tokens that give an output go on.
 * @param x [width, tokens]
 * @returns [width, tokens], or [width, outputs] in the last layer
 */
export function encoderAttention(
  blocks: Blocks,
  weights: LayerWeights,
  x: Tensor,
  positions: Positions,
): Tensor {
  const { context } = blocks.scope;
  const { memory, shape, hyperparameters } = blocks.parts;
  const { heads, kvHeads, headWidth, rope } = hyperparameters;
  const [q, k, v] = queriesKeysValues(blocks, weights, x);
  const headsAt = (projection: Projection, count: number) => headsOf(context, projection, headWidth, count);
  const rotated = (part: Tensor) =>
    positions === "rope" ? context.rope(part, memory.positions, rope) : part;
  const queries = rotated(headsAt(q, heads));
  const keys = rotated(headsAt(k, kvHeads));
  const values = headsAt(v, kvHeads);

  /** [head width, tokens, heads] of one sequence. */
  const rowsOf = (part: Tensor, first: number, tokens: number) => {
    const [, headStride, tokenStride] = part.strides;
    const extents = [headWidth, part.shape[1]!, tokens];
    const view = context.view(part, extents, [headStride!, tokenStride!], first * tokenStride!);
    return context.permute(view, [0, 2, 1, 3]);
  };
  const call = (first: number, tokens: number) =>
    context.flashAttention(
      rowsOf(queries, first, tokens),
      context.cast(rowsOf(keys, first, tokens), "F16"),
      context.cast(rowsOf(values, first, tokens), "F16"),
      undefined,
      1 / Math.sqrt(headWidth),
    );

  const { sequences } = shape;
  let attended: Tensor;
  if (sequences.length === 1) {
    const { tokens } = sequences[0]!;
    attended = context.reshape2d(call(0, tokens), heads * headWidth, tokens);
  } else {
    let first = 0;
    const results = sequences.map(({ tokens }) => {
      const result = call(first, tokens);
      first += tokens;
      return result;
    });
    attended = memory.sideBySide(blocks.scope, results);
  }
  return blocks.product(weights, "attn_output.weight", blocks.outputRows(attended));
}
