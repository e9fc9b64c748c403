import type { EvictionPolicy, ExpertId, Moment } from "./policy.ts";

/** Least recently used: the expert whose last use is longest ago leaves. */
export class LeastRecentlyUsed implements EvictionPolicy {
  readonly name = "lru";
  readonly #lastUsed = new Map<ExpertId, number>();

  used(expert: ExpertId, { tick }: Moment): void {
    this.#lastUsed.set(expert, tick);
  }

  entered(): void {}
  left(): void {}

  worth(expert: ExpertId): number {
    return this.#lastUsed.get(expert) ?? 0;
  }
}
