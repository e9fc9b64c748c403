/**
 * The truncating samplers of the chain, in llama.cpp's order: top_n_sigma, top_k, typical_p, top_p, min_p, XTC.
 *
 * With p the softmax at temperature 1 of the logits still kept, and tokens ranked by logit (ties: lower id first):
 * - top_n_sigma keeps those with logit >= logit_1 - n · σ, σ the standard deviation of all logits (Tang et al. 2024).
 * - top_k keeps the first k.
 * - typical_p keeps those whose surprise -ln(p_i) is nearest to the mean surprise Σ -p_j · ln(p_j), as few as have more
 *   than typicalP of the probability; at least one (Meister et al., TACL 2023).
 * - top_p keeps the shortest prefix with p_1 + … + p_n >= topP; at least one token.
 * - min_p keeps those with p_i >= minP · p_1, which is logit_i >= logit_1 + ln(minP).
 * - XTC, with probability xtcProbability, removes all but the least likely of those with p_i >= xtcThreshold
 *   ("exclude top choices", p-e-w, text-generation-webui pull request 6335).
 *
 * A token at -Infinity is never kept. All but typical_p and XTC keep a prefix of the ranking, so min_p's result does
 * not depend on what top_p removed. Without top_k the ranking would mean sorting the vocabulary; instead the
 * probability mass is summed in bands of logit, and only the band in which top_p's cut falls is sorted.
 */
import { expNegative } from "./exp.ts";
import { MassCut } from "./mass-cut.ts";
import type { ResolvedSampling } from "./params.ts";
import type { Xoshiro128 } from "./random.ts";
import { argmax, selectTop, sortBestFirst } from "./select.ts";

/** Bands of width 1/16 below the greatest logit; the last one holds everything from 32 below it on. */
const bandsPerUnit = 16;
const lastBand = 32 * bandsPerUnit;

/** Tokens that the next draw may choose from. Entries [0, count) of `tokens` and `scores` belong together. */
export class Candidates {
  readonly #topNSigma: number;
  readonly #topK: number;
  readonly #typicalP: number;
  readonly #topP: number;
  readonly #logMinP: number;
  readonly #xtcProbability: number;
  readonly #xtcThreshold: number;
  readonly #random: Xoshiro128;
  /** Token ids: best first with top_k and without typical_p, else in an order that follows from the logits alone. */
  readonly tokens: Int32Array;
  /** Logits of `tokens`. */
  readonly scores: Float32Array;
  count = 0;
  /** The greatest of `scores`. */
  best = 0;
  readonly #bandMass = new Float64Array(lastBand + 1);
  readonly #massCut: MassCut | undefined;

  /** @param random decides whether XTC is at work */
  constructor(params: ResolvedSampling, vocabSize: number, random: Xoshiro128) {
    this.#topNSigma = params.topNSigma;
    this.#topK = params.topK > 0 && params.topK < vocabSize ? params.topK : 0;
    this.#typicalP = params.typicalP;
    this.#topP = params.topP;
    this.#logMinP = Math.log(params.minP);
    this.#xtcProbability = params.xtcThreshold > 0.5 ? 0 : params.xtcProbability;
    this.#xtcThreshold = params.xtcThreshold;
    this.#random = random;
    const capacity = this.#topK || vocabSize;
    this.tokens = new Int32Array(capacity);
    this.scores = new Float32Array(capacity);
    if (this.#typicalP < 1) this.#massCut = new MassCut(capacity);
  }

  /**
   * Runs them over `logits`.
   * @throws StowageError `logits_not_finite` on NaN or Infinity, `logits_all_masked` when all are -Infinity.
   */
  select(logits: Float32Array): void {
    if (this.#topK > 0) this.#selectTopK(logits);
    else this.#selectOfAll(logits);
    if (this.#massCut) this.#selectTypical(this.#massCut);
    if (this.#xtcProbability > 0) this.#excludeTop();
  }

  /** top_n_sigma and top_k, and without typical_p also top_p and min_p. */
  #selectTopK(logits: Float32Array): void {
    this.count = selectTop(logits, this.#topK, this.scores, this.tokens);
    this.best = this.scores[0]!;
    this.#dropBelow(this.#sigmaFloor(logits));
    if (this.#massCut) return;
    if (this.#topP < 1) this.count = this.#topPPrefix(0, this.count, 0, this.#topP * this.#massOfScores());
    this.#dropBelow(this.best + this.#logMinP);
  }

  /** The same without top_k. */
  #selectOfAll(logits: Float32Array): void {
    this.best = logits[argmax(logits)]!;
    const floor = this.#sigmaFloor(logits);
    if (this.#massCut) this.#gather(logits, floor, Infinity, Infinity);
    else if (this.#topP < 1) this.#selectTopP(logits, floor);
    else this.#gather(logits, Math.max(floor, this.best + this.#logMinP), Infinity, Infinity);
  }

  #sigmaFloor(logits: Float32Array): number {
    return this.#topNSigma > 0 ? this.best - this.#topNSigma * deviation(logits, this.best) : -Infinity;
  }

  /** typical_p, top_p and min_p of what is gathered. */
  #selectTypical(cut: MassCut): void {
    const { scores, tokens } = this;
    this.count = cut.typical(this, this.#typicalP);
    this.best = greatest(scores, this.count);
    if (this.#topP < 1) this.count = cut.top(this, this.#topP);
    const floor = this.best + this.#logMinP;
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (scores[i]! < floor) continue;
      scores[kept] = scores[i]!;
      tokens[kept++] = tokens[i]!;
    }
    this.count = kept;
  }

  /** XTC. */
  #excludeTop(): void {
    const { scores, tokens, count } = this;
    if (count < 2 || this.#random.nextUnit() >= this.#xtcProbability) return;
    const floor = this.best + Math.log(this.#xtcThreshold * this.#massOfScores());
    let above = 0;
    let least = 0;
    for (let i = 0; i < count; i++) {
      if (scores[i]! < floor) continue;
      const lower =
        scores[i]! < scores[least]! || (scores[i] === scores[least] && tokens[i]! > tokens[least]!);
      if (above++ === 0 || lower) least = i;
    }
    if (above < 2) return;
    this.best = scores[least]!;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      if (i !== least && scores[i]! >= floor) continue;
      scores[kept] = scores[i]!;
      tokens[kept++] = tokens[i]!;
    }
    this.count = kept;
  }

  /** top_p and min_p of all logits from `floor` on. */
  #selectTopP(logits: Float32Array, floor: number): void {
    const target = this.#topP * this.#sumBands(logits, floor);
    let above = 0;
    let band = 0;
    while (band < lastBand && above + this.#bandMass[band]! < target) above += this.#bandMass[band++]!;

    const upTo = band === lastBand ? Infinity : band + 1;
    const sure = this.#gather(logits, Math.max(floor, this.best + this.#logMinP), band, upTo);
    sortBestFirst(this.scores, this.tokens, sure, this.count);
    this.count = this.#topPPrefix(sure, this.count, above, target);
  }

  /** Fills `#bandMass` with the sums of exp(logit - best) of logits from `floor` on, and returns their total. */
  #sumBands(logits: Float32Array, floor: number): number {
    const mass = this.#bandMass.fill(0);
    const best = this.best;
    let total = 0;
    for (let i = 0; i < logits.length; i++) {
      if (logits[i]! < floor) continue;
      const below = best - logits[i]!;
      const weight = expNegative(below);
      mass[below < lastBand / bandsPerUnit ? (below * bandsPerUnit) | 0 : lastBand]! += weight;
      total += weight;
    }
    return total;
  }

  /**
   * Collects the logits from `floor` on of the bands [0, `upTo`): first those above band `cutBand`, then those in it.
   * Returns how many are above.
   */
  #gather(logits: Float32Array, floor: number, cutBand: number, upTo: number): number {
    const { tokens, scores, best } = this;
    const capacity = tokens.length;
    let head = 0;
    let tail = capacity;
    for (let i = 0; i < logits.length; i++) {
      const x = logits[i]!;
      const depth = (best - x) * bandsPerUnit;
      if (x < floor || !(depth < upTo)) continue;
      const at = depth < cutBand ? head++ : --tail;
      tokens[at] = i;
      scores[at] = x;
    }
    tokens.copyWithin(head, tail);
    scores.copyWithin(head, tail);
    this.count = head + capacity - tail;
    return head;
  }

  #massOfScores(): number {
    let mass = 0;
    for (let i = 0; i < this.count; i++) mass += expNegative(this.best - this.scores[i]!);
    return mass;
  }

  /** The first `n` at which `mass` plus the weights of entries [from, n) reaches `target`; `to` if none does. */
  #topPPrefix(from: number, to: number, mass: number, target: number): number {
    let n = from;
    let sum = mass;
    do {
      if (n === to) return to;
      sum += expNegative(this.best - this.scores[n++]!);
    } while (sum < target);
    return n;
  }

  #dropBelow(floor: number): void {
    while (this.scores[this.count - 1]! < floor) this.count--;
  }
}

function greatest(scores: Float32Array, count: number): number {
  let best = scores[0]!;
  for (let i = 1; i < count; i++) if (scores[i]! > best) best = scores[i]!;
  return best;
}

/** Standard deviation of the logits above -Infinity, of which `best` is the greatest. */
function deviation(logits: Float32Array, best: number): number {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < logits.length; i++) {
    const below = best - logits[i]!;
    if (below === Infinity) continue;
    count++;
    sum += below;
    squares += below * below;
  }
  return Math.sqrt(Math.max(squares / count - (sum / count) ** 2, 0));
}
