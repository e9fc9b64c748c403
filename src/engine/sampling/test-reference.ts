/** The sampling chain written as its definitions read: slow, allocating, sorting everything. The tests' oracle. */
import type { ResolvedSampling } from "./params.ts";

export interface Ranked {
  token: number;
  logit: number;
}

/** All tokens above -Infinity, greatest logit first, ties by id. */
export function rank(logits: ArrayLike<number>): Ranked[] {
  return Array.from(logits, (logit, token) => ({ token, logit }))
    .filter(({ logit }) => logit !== -Infinity)
    .sort((a, b) => b.logit - a.logit || a.token - b.token);
}

/** Softmax at `temperature` of the logits of `ranked`. */
export function softmax(ranked: Ranked[], temperature = 1): number[] {
  const weights = ranked.map(({ logit }) => Math.exp((logit - ranked[0]!.logit) / temperature));
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}

/** Logits after the penalties, each rounded to f32. */
export function penalise(logits: ArrayLike<number>, seen: number[], params: ResolvedSampling): number[] {
  const recent = params.penaltyLastN === 0 ? [] : seen.slice(-params.penaltyLastN);
  return Array.from(logits, (logit, token) => {
    const count = recent.filter((t) => t === token).length;
    if (count === 0) return logit;
    const scaled = logit > 0 ? logit / params.repeatPenalty : logit * params.repeatPenalty;
    return Math.fround(scaled - count * params.frequencyPenalty - params.presencePenalty);
  });
}

/**
 * What top_k, top_p and min_p keep. `slack` moves both cuts by that much: a result computed with another order of
 * additions lies between those for a slack a little below and a little above 0.
 */
export function truncate(ranked: Ranked[], params: ResolvedSampling, slack = 0): Ranked[] {
  let kept = params.topK > 0 ? ranked.slice(0, params.topK) : ranked;
  if (params.topP < 1) {
    const p = softmax(kept);
    let n = 0;
    let sum = 0;
    do sum += p[n++]!;
    while (n < kept.length && sum < params.topP + slack);
    kept = kept.slice(0, n);
  }
  const best = kept[0]!.logit;
  return kept.filter(({ logit }, i) => i === 0 || Math.exp(logit - best) >= params.minP - slack);
}
