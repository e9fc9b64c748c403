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
    this.misses += missing.length;
    for (const expert of missing) {
      if (this.#present.size >= this.#slots) this.#evict(experts, now);
      this.#present.add(expert);
    }
  }

  #evict(held: readonly ExpertId[], now: Moment): void {
    let victim: ExpertId | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const expert of this.#present) {
      if (held.includes(expert)) continue;
      const worth = this.policy.worth(expert, now);
      if (victim !== undefined && worth >= least) continue;
      [victim, least] = [expert, worth];
    }
    if (victim !== undefined) this.#present.delete(victim);
  }
}
