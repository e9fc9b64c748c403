import type { ExpertCache } from "./cache.ts";
import type { LayerSeen, PrefetchPolicy } from "./policies/prefetch-policy.ts";

/** Decode steps in which stalls are compared. */
const windowSteps = 24;
/** The side that was worse is tried again after so many windows. */
const retryWindows = 16;
/** How fast the notion of a side's stalls follows what is measured. */
const newerWeight = 0.5;

type Side = "on" | "off";

/**
 * Reads ahead what a policy wants, as long as that pays: a wrong guess costs a read and may push out what is needed, a right
 * one saves no more than the time of the computation that it overlaps. So the stalls of decode steps are measured with
 * and without, in turns at first, then now and again, and the better side is kept.
 */
export class Prefetcher {
  readonly policy: PrefetchPolicy;
  readonly #cache: ExpertCache;
  readonly #stalls: Partial<Record<Side, number>> = {};
  #side: Side = "on";
  #steps = 0;
  #windows = 0;
  #stallBefore = 0;

  constructor(cache: ExpertCache, policy: PrefetchPolicy) {
    this.#cache = cache;
    this.policy = policy;
  }

  /** Whether it reads ahead now, and the mean stall of a decode step with and without it, ms, where known. */
  get account(): { active: boolean; stallMsOn: number | undefined; stallMsOff: number | undefined } {
    return { active: this.#side === "on", stallMsOn: this.#stalls.on, stallMsOff: this.#stalls.off };
  }

  /** Whether the next router's choice is wanted at this step. */
  get usesNextGate(): boolean {
    return this.#side === "on" && this.policy.usesNextGate;
  }

  /** A decode step has its experts of a layer. */
  seen(seen: LayerSeen): void {
    if (this.#side === "off") return;
    for (const { layer, experts } of this.policy.ahead(seen)) {
      this.#cache.prefetch(layer, experts, { evict: true });
    }
  }

  /** A decode step is over. */
  stepped(): void {
    this.#steps++;
    if (this.#steps < windowSteps) return;
    const stall = this.#cache.metrics.total.stallMs;
    const mean = (stall - this.#stallBefore) / this.#steps;
    const known = this.#stalls[this.#side];
    // The first window fills slots: it tells nothing.
    if (this.#windows > 0) {
      this.#stalls[this.#side] = known === undefined ? mean : known + (mean - known) * newerWeight;
    }
    this.#windows++;
    this.#steps = 0;
    this.#stallBefore = stall;
    this.#side = this.#nextSide();
  }

  #nextSide(): Side {
    const { on, off } = this.#stalls;
    if (on === undefined) return "on";
    if (off === undefined) return "off";
    const better: Side = on <= off ? "on" : "off";
    if (this.#windows % retryWindows === 0) return better === "on" ? "off" : "on";
    return better;
  }
}
