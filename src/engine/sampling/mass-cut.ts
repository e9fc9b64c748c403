/**
 * Keeps the entries of a list that come first by some key, as few as have a share of the probability. Sorting all of
 * them would take long at a large vocabulary: their mass is summed in bands of the key, and only the band in which the
 * cut falls is sorted.
 */
import { expNegative } from "./exp.ts";

/** Bands of width 1/16 of the key; the last one holds everything from 32 on. */
const bandsPerUnit = 16;
const lastBand = 32 * bandsPerUnit;

/** A list of logits and their tokens, in the first `count` entries of both arrays. */
export interface ScoreList {
  readonly scores: Float32Array;
  readonly tokens: Int32Array;
  readonly count: number;
  /** The greatest of the logits. */
  readonly best: number;
}

/** Each of its methods brings the entries that are kept to the front of the list, and returns how many they are. */
export class MassCut {
  readonly #keys: Float64Array;
  readonly #weights: Float64Array;
  readonly #bandMass = new Float64Array(lastBand + 1);

  /** @param capacity most entries of a list */
  constructor(capacity: number) {
    this.#keys = new Float64Array(capacity);
    this.#weights = new Float64Array(capacity);
  }

  /** The most likely entries that together have at least `share` of the probability, and at least one. */
  top(list: ScoreList, share: number): number {
    const { total } = this.#weigh(list);
    return this.#cut(list, (mass) => mass >= share * total);
  }

  /** The entries of the most usual surprise that together have more than `share` of it, and at least one. */
  typical(list: ScoreList, share: number): number {
    const { total, depths } = this.#weigh(list);
    // -ln(p) is depth + ln(total), and its mean depths / total + ln(total).
    const usual = depths / total;
    for (let i = 0; i < list.count; i++) this.#keys[i] = Math.abs(this.#keys[i]! - usual);
    return this.#cut(list, (mass) => mass > share * total);
  }

  /** The `k` most likely entries. */
  most(list: ScoreList, k: number): number {
    for (let i = 0; i < list.count; i++) this.#keys[i] = list.best - list.scores[i]!;
    this.#weights.fill(1, 0, list.count);
    return this.#cut(list, (count) => count >= k);
  }

  /** Depths below the best as keys, and exp(-depth) as weights. */
  #weigh({ scores, count, best }: ScoreList): { total: number; depths: number } {
    let total = 0;
    let depths = 0;
    for (let i = 0; i < count; i++) {
      const depth = best - scores[i]!;
      const weight = expNegative(depth);
      this.#keys[i] = depth;
      this.#weights[i] = weight;
      total += weight;
      // Not 0 · Infinity.
      if (weight > 0) depths += weight * depth;
    }
    return { total, depths };
  }

  /** The entries of the smallest keys, as few as have enough weight. */
  #cut({ scores, tokens, count }: ScoreList, enough: (mass: number) => boolean): number {
    const [keys, weights] = [this.#keys, this.#weights];
    const mass = this.#bandMass.fill(0);
    for (let i = 0; i < count; i++) mass[bandOf(keys[i]!)]! += weights[i]!;
    let sum = 0;
    let band = 0;
    while (band < lastBand && !enough(sum + mass[band]!)) sum += mass[band++]!;

    const inBand: { key: number; weight: number; score: number; token: number }[] = [];
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const key = keys[i]!;
      const at = bandOf(key);
      if (at === band) inBand.push({ key, weight: weights[i]!, score: scores[i]!, token: tokens[i]! });
      if (at >= band) continue;
      scores[kept] = scores[i]!;
      tokens[kept++] = tokens[i]!;
    }
    inBand.sort((a, b) => a.key - b.key || a.token - b.token);
    for (const { weight, score, token } of inBand) {
      if (kept > 0 && enough(sum)) break;
      scores[kept] = score;
      tokens[kept++] = token;
      sum += weight;
    }
    return kept;
  }
}

function bandOf(key: number): number {
  return key < lastBand / bandsPerUnit ? Math.trunc(key * bandsPerUnit) : lastBand;
}
