import type { EvictionPolicy, ExpertId, Moment } from "../policies/policy.ts";
import type { RoutingLog } from "../trace/routing-log.ts";
import { type ReplayStep, usedExperts } from "./steps.ts";

/**
 * Evicts the expert whose next use by a decode step is farthest away (L. A. Belady, 1966): the fewest demand misses that
 * any eviction can have. It knows the trace, so it exists in replay only.
 */
export class Belady implements EvictionPolicy {
  readonly name: string = "belady";
  /** By expert: the ticks at which it is used, those first that are next. */
  readonly #uses: number[][];
  readonly #passed: Uint32Array;

  constructor(log: RoutingLog, steps: readonly ReplayStep[]) {
    this.#uses = Array.from({ length: log.layers * log.experts }, () => []);
    this.#passed = new Uint32Array(this.#uses.length);
    let tick = 0;
    for (const step of steps) {
      for (let layer = 0; layer < log.layers; layer++) {
        tick++;
        if (!step.short) continue;
        for (const expert of usedExperts(log, step, layer))
          this.#uses[layer * log.experts + expert]!.push(tick);
      }
    }
  }

  used(): void {}
  entered(): void {}
  left(): void {}

  worth(expert: ExpertId, { tick }: Moment): number {
    return -this.#nextUse(expert, tick);
  }

  #nextUse(expert: ExpertId, tick: number): number {
    const uses = this.#uses[expert]!;
    while (uses[this.#passed[expert]!]! <= tick) this.#passed[expert]!++;
    return uses[this.#passed[expert]!] ?? Number.POSITIVE_INFINITY;
  }
}
