/**
 * Keeps the entries of a list that come first by some key, as few as have a share of the probability. Sorting all of
 * them would take long at a large vocabulary: their mass is summed in bands of the key, and only the band in which the
 * cut falls is sorted.
 */
import { expNegative } from "./exp.ts";

/** Bands of width 1/16 of the key; the last one holds everything from 32 on. */
const bandsPerUnit = 16;
const lastBand = 32 * bandsPerUnit;

export class MassCut {
  readonly #keys: Float64Array;
  readonly #bandMass = new Float64Array(lastBand + 1);

  /** @param capacity most entries of a list */
  constructor(capacity: number) {
    this.#keys = new Float64Array(capacity);
  }

  /**
   * The most likely entries that together have at least `share` of the probability, brought to the front.
   * @param best the greatest of `scores`, which are logits; `scores` and `tokens` belong together
   * @returns how many they are, at least one
   */
  top(scores: Float32Array, tokens: Int32Array, count: number, best: number, share: number): number {
    let total = 0;
    for (let i = 0; i < count; i++) {
      this.#keys[i] = best - scores[i]!;
      total += expNegative(this.#keys[i]!);
    }
    const target = share * total;
    return this.#cut(scores, tokens, count, best, (sum) => sum >= target);
  }

  /** The entries of the most usual surprise that together have more than `share` of the probability; as {@link top}. */
  typical(scores: Float32Array, tokens: Int32Array, count: number, best: number, share: number): number {
    let total = 0;
    let depths = 0;
    for (let i = 0; i < count; i++) {
      const depth = best - scores[i]!;
      const weight = expNegative(depth);
      total += weight;
      // Not 0 · Infinity.
      if (weight > 0) depths += weight * depth;
    }
    // -ln(p) is depth + ln(total), and its mean depths / total + ln(total).
    const usual = depths / total;
    for (let i = 0; i < count; i++) this.#keys[i] = Math.abs(best - scores[i]! - usual);
    const target = share * total;
    return this.#cut(scores, tokens, count, best, (sum) => sum > target);
  }

  /** @param enough whether a mass is what was asked for */
  #cut(
    scores: Float32Array,
    tokens: Int32Array,
    count: number,
    best: number,
    enough: (mass: number) => boolean,
  ): number {
    const keys = this.#keys;
    const mass = this.#bandMass.fill(0);
    for (let i = 0; i < count; i++) mass[bandOf(keys[i]!)]! += expNegative(best - scores[i]!);
    let above = 0;
    let band = 0;
    while (band < lastBand && !enough(above + mass[band]!)) above += mass[band++]!;

    const inBand: { key: number; score: number; token: number }[] = [];
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const key = keys[i]!;
      const at = bandOf(key);
      if (at === band) inBand.push({ key, score: scores[i]!, token: tokens[i]! });
      if (at >= band) continue;
      scores[kept] = scores[i]!;
      tokens[kept++] = tokens[i]!;
    }
    inBand.sort((a, b) => a.key - b.key || a.token - b.token);
    let sum = above;
    for (const { score, token } of inBand) {
      if (kept > 0 && enough(sum)) break;
      scores[kept] = score;
      tokens[kept++] = token;
      sum += expNegative(best - score);
    }
    return kept;
  }
}

function bandOf(key: number): number {
  return key < lastBand / bandsPerUnit ? Math.trunc(key * bandsPerUnit) : lastBand;
}
