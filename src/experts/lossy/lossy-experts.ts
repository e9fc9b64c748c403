import type { ExpertCache } from "../cache.ts";
import type { Choice, Division, LossyMode } from "./mode.ts";

/** How often experts of decode steps were run in which way. */
export type Served = { -readonly [Way in keyof Division]: number };

/** The low-precision copies of a model's experts, beside the cache of the full ones, and the mode that chooses. Owns the copies. */
export class LossyExperts {
  readonly mode: LossyMode;
  readonly low: ExpertCache;
  readonly served: Served = { full: 0, low: 0, skipped: 0 };
  readonly #full: ExpertCache;

  /** @param full stays its owner's */
  constructor(mode: LossyMode, full: ExpertCache, low: ExpertCache) {
    this.mode = mode;
    this.#full = full;
    this.low = low;
  }

  /** How the experts that a step chose are run. */
  divide(choice: Choice): Division {
    const division = this.mode.divide(choice, {
      full: (layer, expert) => this.#full.has(layer, expert),
      low: (layer, expert) => this.low.has(layer, expert),
    });
    if (choice.shares) {
      for (const way of ["full", "low", "skipped"] as const) this.served[way] += division[way].length;
    }
    return division;
  }

  dispose(): Promise<void> {
    return this.low.dispose();
  }
}
