import type { EvictionPolicy, ExpertId, Moment } from "./policy.ts";

/** What a cache would have missed under a policy: it holds names and no experts. Nothing is read ahead. */
export class GhostCache {
  readonly policy: EvictionPolicy;
  readonly #slots: number;
  readonly #present = new Set<ExpertId>();
  misses = 0;

  /** @param policy told what happens by its owner, and of what enters and leaves the real cache alone */
  constructor(policy: EvictionPolicy, slots: number) {
    this.policy = policy;
    this.#slots = slots;
  }

  /** Begins anew with these experts. */
  fill(experts: Iterable<ExpertId>): void {
    this.#present.clear();
    for (const expert of experts) this.#present.add(expert);
    this.misses = 0;
  }

  /** A layer has used these experts; the policy does not know it yet. */
  used(experts: readonly ExpertId[], now: Moment): void {
    const missing = experts.filter((expert) => !this.#present.has(expert));
    if (missing.length === 0) return;
    this.misses += missing.length;
    const over = this.#present.size + missing.length - this.#slots;
    if (over > 0) for (const victim of this.#least(over, experts, now)) this.#present.delete(victim);
    for (const expert of missing) this.#present.add(expert);
  }

  /** Those of least worth, in one pass: worths do not change from one eviction of a layer to the next. */
  #least(count: number, held: readonly ExpertId[], now: Moment): ExpertId[] {
    const worths: number[] = [];
    const found: ExpertId[] = [];
    for (const expert of this.#present) {
      const worth = this.policy.worth(expert, now);
      if ((found.length === count && worth >= worths[count - 1]!) || held.includes(expert)) continue;
      let place = found.length;
      while (place > 0 && worths[place - 1]! > worth) place--;
      worths.splice(place, 0, worth);
      found.splice(place, 0, expert);
      if (found.length > count) {
        worths.pop();
        found.pop();
      }
    }
    return found;
  }
}
