import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import { bestOfGroup, type ExpertGroups } from "./mixture.ts";
import type { LayerWeights } from "./weights.ts";

/** The router's choice for every token. */
export interface Routing {
  /** All experts by falling probability, I32 [experts, tokens]; the first `expertsUsed` of each are chosen. */
  readonly ranking: Tensor;
  /** Weights of the chosen, in that order, F32 [1, expertsUsed, tokens]. */
  readonly weights: Tensor;
  /** The router's logits, F32 [experts, tokens]. */
  readonly logits: Tensor;
  /** How the router of another layer ranks its experts for a residual stream `x` [width, tokens]. */
  rankingAt(layer: LayerWeights, x: Tensor): Tensor;
}

/** How logits become a choice and its weights. */
export interface RouterOptions {
  /**
   * What logits become: probabilities of all experts together, of each by itself, or of the chosen alone. Default
   * softmax.
   */
  readonly gating?: "softmax" | "sigmoid" | "softmax of the chosen";
  /** The weights are multiplied by this in the end. Default 1. */
  readonly scale?: number;
  /** Divide the weights of a token by their sum. */
  readonly normalise: boolean;
}

/** A sum of weights is no less than this when they are divided by it: the smallest normal F16, as in llama.cpp. */
const leastSum = 2 ** -14;

/** What experts are ranked by, and what the weights of the chosen come from; F32 [experts, tokens]. */
interface Scores {
  readonly ranked: Tensor;
  readonly weighed: Tensor;
}

/**
 * The best `expertsUsed` by probability, which a layer may shift by a bias of each expert (`exp_probs_b`), and their
 * probabilities without that as weights. Softmax probabilities that are divided by their sum are a softmax over the
 * chosen logits alone: two nodes where llama.cpp has five, at a difference of rounding.
 * @param input what the router is given, [width, tokens]
 * @param inputAt the same for another layer, of the residual stream x
 */
export function route(
  blocks: Blocks,
  weights: LayerWeights,
  input: Tensor,
  options: RouterOptions,
  inputAt: (layer: LayerWeights, x: Tensor) => Tensor,
): Routing {
  const { context, graph } = blocks.scope;
  const { expertsUsed } = blocks.hyperparameters;
  const logits = blocks.product(weights, "ffn_gate_inp.weight", input);
  const [experts, tokens] = logits.shape;
  const { ranked, weighed } = scoresOf(blocks, weights, logits, options);
  const ranking = context.argsort(ranked);
  const chosen = context.view(ranking, [expertsUsed, tokens], [ranking.strides[1]], 0);
  const picked = context.getRows(context.reshape3d(weighed, 1, experts, tokens), chosen);
  const final = weightsOf(blocks, picked, options);
  graph.expand(final);
  const rankingAt = (layer: LayerWeights, x: Tensor) => {
    const logits = blocks.product(layer, "ffn_gate_inp.weight", inputAt(layer, x));
    // The scope may be another by now.
    return blocks.scope.context.argsort(scoresOf(blocks, layer, logits, options).ranked);
  };
  return { ranking, weights: final, logits, rankingAt };
}

function scoresOf(
  blocks: Blocks,
  weights: LayerWeights,
  logits: Tensor,
  { gating = "softmax", normalise }: RouterOptions,
): Scores {
  const { context } = blocks.scope;
  const { expertGroups: groups } = blocks.hyperparameters;
  const bias = weights.find("exp_probs_b.bias")?.tensor;
  const shifted = (scores: Tensor) => {
    const sum = bias ? context.add(scores, bias) : scores;
    return groups ? withinGroups(blocks, sum, groups) : sum;
  };
  if (gating === "sigmoid") {
    const scores = context.sigmoid(logits);
    return { ranked: shifted(scores), weighed: scores };
  }
  if (gating === "softmax of the chosen") return { ranked: shifted(logits), weighed: logits };
  if (normalise) {
    const asProbabilities = bias !== undefined || groups !== undefined;
    return { ranked: asProbabilities ? shifted(context.softMax(logits)) : logits, weighed: logits };
  }
  const scores = context.softMax(logits);
  return { ranked: shifted(scores), weighed: scores };
}

/** Scores [experts, tokens], those of experts outside the best groups minus infinity. */
function withinGroups({ scope: { context } }: Blocks, scores: Tensor, groups: ExpertGroups): Tensor {
  const [experts, tokens] = scores.shape;
  const { count, used } = groups;
  const each = experts / count;
  const grouped = context.reshape3d(scores, each, count, tokens);
  const inGroup = context.argsort(grouped);
  const [, groupStride, tokenStride] = inGroup.strides;
  const two = context.view(inGroup, [bestOfGroup, count, tokens], [groupStride, tokenStride], 0);
  const best = context.getRows(context.reshape4d(scores, 1, each, count, tokens), two);
  const sums = context.sumRows(context.reshape3d(best, bestOfGroup, count, tokens));
  const ranking = context.argsort(context.reshape2d(sums, count, tokens));
  const chosen = context.view(ranking, [used, tokens], [ranking.strides[1]], 0);
  const nothing = context.fill(grouped, Number.NEGATIVE_INFINITY);
  const kept = context.setRows(nothing, context.getRows(grouped, chosen), chosen);
  return context.reshape2d(kept, experts, tokens);
}

/** @param picked scores of the chosen, [1, expertsUsed, tokens], as are their weights */
function weightsOf(
  { scope: { context } }: Blocks,
  picked: Tensor,
  { gating = "softmax", normalise, scale = 1 }: RouterOptions,
): Tensor {
  const [, used, tokens] = picked.shape;
  const flat = context.reshape2d(picked, used, tokens);
  let weights = flat;
  if (gating === "softmax of the chosen" || (gating === "softmax" && normalise)) {
    weights = context.softMax(flat);
  } else if (normalise) {
    const sum = context.clamp(context.sumRows(flat), leastSum, Number.POSITIVE_INFINITY);
    weights = context.div(flat, sum);
  }
  if (scale !== 1) weights = context.scale(weights, scale);
  return weights === flat ? picked : context.reshape3d(weights, 1, used, tokens);
}
