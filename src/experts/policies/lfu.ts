import type { EvictionPolicy, ExpertId, Moment } from "./policy.ts";

/**
 * Least frequently used: the expert with the fewest uses since the model was loaded leaves; of equals, the one
 * whose last use is longest ago. Counts outlive the slot, as in fMoE's comparison (EuroSys 2026), where LFU beat LRU.
 */
export class LeastFrequentlyUsed implements EvictionPolicy {
  readonly name = "lfu";
  readonly #uses = new Map<ExpertId, number>();
  readonly #lastUsed = new Map<ExpertId, number>();

  used(expert: ExpertId, { tick }: Moment): void {
    this.#uses.set(expert, (this.#uses.get(expert) ?? 0) + 1);
    this.#lastUsed.set(expert, tick);
  }

  entered(expert: ExpertId, { tick }: Moment): void {
    this.#lastUsed.set(expert, tick);
  }

  left(): void {}

  worth(expert: ExpertId, { tick }: Moment): number {
    // Ages are below 1 here: they only part equals.
    return (this.#uses.get(expert) ?? 0) + (this.#lastUsed.get(expert) ?? 0) / (tick + 1);
  }
}
