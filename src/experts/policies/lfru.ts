import { type EvictionPolicy, type ExpertId, least, type Moment } from "./policy.ts";

/**
 * Least frequently and recently used: counts of uses that halve every so often, so that what was popular long ago makes
 * room for what is popular now. Between LRU (a short half-life) and LFU (an endless one).
 */
export class LeastFrequentlyRecentlyUsed implements EvictionPolicy {
  readonly name = "lfru";
  readonly #halfLife: number;
  readonly #score = new Map<ExpertId, { value: number; at: number }>();

  /** @param halfLife ticks after which a use counts half: a tick is a layer, so 64 tokens of a model of 32 layers */
  constructor(halfLife = 2048) {
    this.#halfLife = halfLife;
  }

  used(expert: ExpertId, { tick }: Moment): void {
    this.#score.set(expert, { value: this.#valueAt(expert, tick) + 1, at: tick });
  }

  entered(expert: ExpertId, { tick }: Moment): void {
    if (!this.#score.has(expert)) this.#score.set(expert, { value: 0, at: tick });
  }

  left(): void {}

  victim(candidates: readonly ExpertId[], { tick }: Moment): ExpertId {
    return least(candidates, (expert) => this.#valueAt(expert, tick));
  }

  #valueAt(expert: ExpertId, tick: number): number {
    const score = this.#score.get(expert);
    return score ? score.value * 2 ** ((score.at - tick) / this.#halfLife) : 0;
  }
}
