import type { RoutedToken, StepToken } from "../experts/policies/policy.ts";
import type { StepParts } from "./blocks.ts";

/** The tokens of a step. */
export function stepTokens({ memory, shape }: StepParts): StepToken[] {
  const { tokens, positions } = memory.fill;
  // A sequence keeps its first KV cell as long as it runs: that tells it from the others.
  const owners = shape.sequences.flatMap(({ tokens, firstCell }) => Array<number>(tokens).fill(firstCell));
  return owners.map((request, row) => ({ request, token: tokens[row]!, position: positions[row]! }));
}

/**
 * What a layer's router chose for the tokens that it has seen: all of the step, or in the last layer those with outputs.
 * A copy: what the graphs hand over is written again by the next.
 * @param ranking experts by falling rank, [tokens][experts]
 * @param logits of the router, [tokens][experts], where its probabilities are wanted
 */
export function routedTokens(
  parts: StepParts,
  ranking: Int32Array,
  count: number,
  logits: Float32Array | undefined,
): RoutedToken[] {
  const { experts, expertsUsed } = parts.hyperparameters;
  const { outputs } = parts.memory.fill;
  const all = stepTokens(parts);
  return Array.from({ length: count }, (_, index) => {
    const token = all[count === all.length ? index : outputs![index]!]!;
    const first = index * experts;
    const chosen = ranking.slice(first, first + expertsUsed);
    if (!logits) return { ...token, chosen };
    return { ...token, chosen, probabilities: softmax(logits.subarray(first, first + experts)) };
  });
}

function softmax(logits: Float32Array): Float32Array {
  const peak = logits.reduce((best, logit) => Math.max(best, logit), Number.NEGATIVE_INFINITY);
  const weights = logits.map((logit) => Math.exp(logit - peak));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}
