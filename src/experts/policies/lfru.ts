import type { EvictionPolicy, ExpertId, Moment } from "./policy.ts";

/** Ticks after which a use counts half: a tick is a layer, so 64 tokens of a model of 32 layers. */
const halfLife = 2048;

/**
 * Least frequently and recently used: counts of uses that halve every so often, so that what was popular long ago makes
 * room for what is popular now. Between LRU (a short half-life) and LFU (an endless one).
 */
export class LeastFrequentlyRecentlyUsed implements EvictionPolicy {
  readonly name = "lfru";
  readonly #score = new Map<ExpertId, { value: number; at: number }>();

  used(expert: ExpertId, { tick }: Moment): void {
    this.#score.set(expert, { value: this.#valueAt(expert, tick) + 1, at: tick });
  }

  entered(expert: ExpertId, { tick }: Moment): void {
    if (!this.#score.has(expert)) this.#score.set(expert, { value: 0, at: tick });
  }

  left(): void {}

  worth(expert: ExpertId, { tick }: Moment): number {
    return this.#valueAt(expert, tick);
  }

  #valueAt(expert: ExpertId, tick: number): number {
    const score = this.#score.get(expert);
    return score ? score.value * 2 ** ((score.at - tick) / halfLife) : 0;
  }
}
