import type { ExpertId, Moment } from "../policies/policy.ts";
import type { PrefetchPolicy, Wanted } from "../policies/prefetch-policy.ts";
import type { RoutingLog } from "../trace/routing-log.ts";
import { Belady } from "./belady.ts";
import { type ReplayStep, usedExperts } from "./steps.ts";

/**
 * Reads ahead what is used next, as far as there are slots, and evicts what is used last of all: what perfect foresight comes
 * to on the same disk. It knows the trace, so it exists in replay only. Greedy in the order of use: on a disk that is
 * slower than what is asked of it, leaving a read out may do better now and then.
 */
export class OraclePrefetch extends Belady implements PrefetchPolicy {
  override readonly name = "oracle-prefetch";
  readonly #uses: { readonly tick: number; readonly id: ExpertId }[] = [];
  readonly #most: number;
  #next = 0;

  /** @param slots of the cache */
  constructor(log: RoutingLog, steps: readonly ReplayStep[], slots: number) {
    super(log, steps);
    // The experts that are computed with, and those that come after them, have their slots already.
    this.#most = Math.max(0, slots - 2 * log.used);
    let tick = 0;
    for (const step of steps) {
      for (let layer = 0; layer < log.layers; layer++) {
        tick++;
        if (!step.short) continue;
        for (const expert of usedExperts(log, step, layer))
          this.#uses.push({ tick, id: layer * log.experts + expert });
      }
    }
  }

  began(_tokens: unknown, now: Moment): Wanted {
    return this.#ahead(now);
  }

  routed(_seen: unknown, now: Moment): Wanted {
    return this.#ahead(now);
  }

  #ahead({ tick }: Moment): ExpertId[] {
    while (this.#next < this.#uses.length && this.#uses[this.#next]!.tick <= tick) this.#next++;
    const wanted = new Set<ExpertId>();
    for (let index = this.#next; index < this.#uses.length && wanted.size < this.#most; index++) {
      wanted.add(this.#uses[index]!.id);
    }
    return [...wanted];
  }
}
