/** The random choice: entry i of some logits with probability exp(logit_i / T) / Σ exp(logit_j / T). */
import { expNegative } from "./exp.ts";
import type { Xoshiro128 } from "./random.ts";

export class Draw {
  readonly #temperature: number;
  readonly #random: Xoshiro128;
  readonly #weights: Float64Array;
  /** Probability of the entry that was drawn last. */
  probability = 1;

  /**
   * @param temperature T, above 0
   * @param capacity most entries to draw from
   */
  constructor(temperature: number, random: Xoshiro128, capacity: number) {
    this.#temperature = temperature;
    this.#random = random;
    this.#weights = new Float64Array(capacity);
  }

  /** One of the entries [0, count) of `logits`, of which `best` is the greatest. */
  next(logits: Float32Array, count: number, best: number): number {
    const weights = this.#weights;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const weight = expNegative((best - logits[i]!) / this.#temperature);
      weights[i] = weight;
      total += weight;
    }
    const target = this.#random.nextUnit() * total;
    let chosen = 0;
    let sum = weights[0]!;
    while (sum <= target && chosen < count - 1) sum += weights[++chosen]!;
    this.probability = weights[chosen]! / total;
    return chosen;
  }
}
