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
 * What top_n_sigma, top_k, typical_p, top_p, min_p and, where it is certain, XTC keep, best first. `slack` moves the cuts
 * by that much: a result computed with another order of additions lies between those for a slack a little below and a
 * little above 0.
 */
export function truncate(ranked: Ranked[], params: ResolvedSampling, slack = 0): Ranked[] {
  let kept = withinSigma(ranked, params.topNSigma + slack);
  if (params.topK > 0) kept = kept.slice(0, params.topK);
  if (params.typicalP < 1) kept = typical(kept, params.typicalP + slack);
  if (params.topP < 1)
    kept = kept.slice(
      0,
      reaching(softmax(kept), (sum) => sum >= params.topP + slack),
    );
  const best = kept[0]!.logit;
  kept = kept.filter(({ logit }, i) => i === 0 || Math.exp(logit - best) >= params.minP - slack);
  return params.xtcProbability === 1 ? withoutTop(kept, params.xtcThreshold + slack) : kept;
}

function withinSigma(ranked: Ranked[], n: number): Ranked[] {
  if (n <= 0) return ranked;
  const mean = ranked.reduce((sum, { logit }) => sum + logit, 0) / ranked.length;
  const variance = ranked.reduce((sum, { logit }) => sum + (logit - mean) ** 2, 0) / ranked.length;
  return ranked.filter(({ logit }, i) => i === 0 || logit >= ranked[0]!.logit - n * Math.sqrt(variance));
}

function typical(ranked: Ranked[], share: number): Ranked[] {
  const p = softmax(ranked);
  const entropy = p.reduce((sum, q) => sum - (q > 0 ? q * Math.log(q) : 0), 0);
  const usual = ranked
    .map((entry, i) => ({ entry, p: p[i]!, shift: Math.abs(-Math.log(p[i]!) - entropy) }))
    .sort((a, b) => a.shift - b.shift || a.entry.token - b.entry.token);
  const count = reaching(
    usual.map((entry) => entry.p),
    (sum) => sum > share,
  );
  const kept = usual.slice(0, count).map(({ entry }) => entry);
  return kept.sort((a, b) => b.logit - a.logit || a.token - b.token);
}

function withoutTop(ranked: Ranked[], threshold: number): Ranked[] {
  if (threshold > 0.5) return ranked;
  const above = softmax(ranked).filter((p) => p >= threshold).length;
  return above < 2 ? ranked : ranked.slice(above - 1);
}

/** The first count of `p` whose sum is enough; at least one. */
function reaching(p: number[], enough: (sum: number) => boolean): number {
  let n = 0;
  let sum = 0;
  do sum += p[n++]!;
  while (n < p.length && !enough(sum));
  return n;
}
