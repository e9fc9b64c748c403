/**
 * The truncating samplers of the chain, in llama.cpp's order: top_k, then top_p, then min_p.
 *
 * With p the softmax at temperature 1 of the logits still kept, and tokens ranked by logit (ties: lower id first):
 * - top_k keeps the first k.
 * - top_p keeps the shortest prefix with p_1 + … + p_n >= topP, p taken over what top_k kept; at least one token.
 * - min_p keeps those with p_i >= minP · p_1, which is logit_i >= logit_1 + ln(minP).
 * All three keep a prefix of the ranking, so min_p's result does not depend on what top_p removed.
 *
 * A token at -Infinity is never kept. Without top_k the ranking would mean sorting the vocabulary; instead the
 * probability mass is summed in bands of logit, and only the band in which top_p's cut falls is sorted.
 */
import { expNegative } from "./exp.ts";
import type { ResolvedSampling } from "./params.ts";
import { argmax, selectTop, sortBestFirst } from "./select.ts";

/** Bands of width 1/16 below the greatest logit; the last one holds everything from 32 below it on. */
const bandsPerUnit = 16;
const lastBand = 32 * bandsPerUnit;

/** Tokens that the next draw may choose from. Entries [0, count) of `tokens` and `scores` belong together. */
export class Candidates {
  readonly #topK: number;
  readonly #topP: number;
  readonly #logMinP: number;
  /** Token ids: best first with top_k, else in an order that follows from the logits alone. */
  readonly tokens: Int32Array;
  /** Logits of `tokens`. */
  readonly scores: Float32Array;
  count = 0;
  /** The greatest of `scores`. */
  best = 0;
  readonly #bandMass = new Float64Array(lastBand + 1);

  constructor(params: ResolvedSampling, vocabSize: number) {
    this.#topK = params.topK > 0 && params.topK < vocabSize ? params.topK : 0;
    this.#topP = params.topP;
    this.#logMinP = Math.log(params.minP);
    const capacity = this.#topK || vocabSize;
    this.tokens = new Int32Array(capacity);
    this.scores = new Float32Array(capacity);
  }

  /**
   * Runs the three over `logits`.
   * @throws StowageError `logits_not_finite` on NaN or Infinity, `logits_all_masked` when all are -Infinity.
   */
  select(logits: Float32Array): void {
    if (this.#topK > 0) {
      this.count = selectTop(logits, this.#topK, this.scores, this.tokens);
      this.best = this.scores[0]!;
      if (this.#topP < 1) this.count = this.#topPPrefix(0, this.count, 0, this.#topP * this.#massOfScores());
      this.#dropBelow(this.best + this.#logMinP);
    } else {
      this.best = logits[argmax(logits)]!;
      if (this.#topP < 1) this.#selectTopP(logits);
      else this.#gather(logits, Infinity, Infinity);
    }
  }

  /** top_p and min_p over the whole vocabulary. */
  #selectTopP(logits: Float32Array): void {
    const target = this.#topP * this.#sumBands(logits);
    let above = 0;
    let band = 0;
    while (band < lastBand && above + this.#bandMass[band]! < target) above += this.#bandMass[band++]!;

    const upTo = band === lastBand ? Infinity : band + 1;
    const sure = this.#gather(logits, band, upTo);
    sortBestFirst(this.scores, this.tokens, sure, this.count);
    this.count = this.#topPPrefix(sure, this.count, above, target);
  }

  /** Fills `#bandMass` with the sums of exp(logit - best), and returns their total. */
  #sumBands(logits: Float32Array): number {
    const mass = this.#bandMass.fill(0);
    const best = this.best;
    let total = 0;
    for (let i = 0; i < logits.length; i++) {
      const below = best - logits[i]!;
      const weight = expNegative(below);
      mass[below < lastBand / bandsPerUnit ? (below * bandsPerUnit) | 0 : lastBand]! += weight;
      total += weight;
    }
    return total;
  }

  /**
   * Collects what min_p keeps of the bands [0, `upTo`): first those above band `cutBand`, then those in it.
   * Returns how many are above.
   */
  #gather(logits: Float32Array, cutBand: number, upTo: number): number {
    const { tokens, scores, best } = this;
    const floor = best + this.#logMinP;
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
