import type { RoutedToken } from "../experts/policies/policy.ts";
import type { StepParts } from "./blocks.ts";

/**
 * What a layer's router chose for the tokens that it has seen: all of the step, or in the last layer those with outputs.
 * @param ranking experts by falling rank, [tokens][experts]
 */
export function routedTokens(
  { memory, shape, hyperparameters: h }: StepParts,
  ranking: Int32Array,
  count: number,
): RoutedToken[] {
  const { tokens, outputs } = memory.fill;
  // A sequence keeps its first KV cell as long as it runs: that tells it from the others.
  const owners = shape.sequences.flatMap(({ tokens, firstCell }) => Array<number>(tokens).fill(firstCell));
  return Array.from({ length: count }, (_, index) => {
    const row = count === tokens.length ? index : outputs![index]!;
    return {
      request: owners[row]!,
      token: tokens[row]!,
      chosen: ranking.subarray(index * h.experts, index * h.experts + h.expertsUsed),
    };
  });
}
