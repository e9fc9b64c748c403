import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";

/** The router's choice for every token. */
export interface Routing {
  /** All experts by falling probability, I32 [experts, tokens]; the first `expertsUsed` of each are chosen. */
  readonly ranking: Tensor;
  /** Weights of the chosen, in that order, F32 [1, expertsUsed, tokens]. */
  readonly weights: Tensor;
}

/** How logits become a choice and its weights. */
export interface RouterOptions {
  /** Divide the weights of a token by their sum. */
  readonly normalise: boolean;
}

/**
 * Softmax over all experts, the best `expertsUsed`, their probabilities as weights. Probabilities that are divided by
 * their sum are a softmax over the chosen logits alone: two nodes where llama.cpp has five, at a difference of
 * rounding.
 * @param logits F32 [experts, tokens]
 */
export function route(blocks: Blocks, logits: Tensor, { normalise }: RouterOptions): Routing {
  const { context, graph } = blocks.scope;
  const { expertsUsed } = blocks.hyperparameters;
  const [experts, tokens] = logits.shape;
  const scores = normalise ? logits : context.softMax(logits);
  const ranking = context.argsort(scores);
  const chosen = context.view(ranking, [expertsUsed, tokens], [ranking.strides[1]], 0);
  const picked = context.getRows(context.reshape3d(scores, 1, experts, tokens), chosen);
  const weights = normalise
    ? context.reshape3d(
        context.softMax(context.reshape2d(picked, expertsUsed, tokens)),
        1,
        expertsUsed,
        tokens,
      )
    : picked;
  graph.expand(weights);
  return { ranking, weights };
}
