import type { ExpertCache } from "../experts/cache.ts";
import type { LossyExperts } from "../experts/lossy/lossy-experts.ts";
import type { Division } from "../experts/lossy/mode.ts";
import type { Sight } from "../experts/policies/policy.ts";
import { ExpertsInSlots } from "./experts-in-slots.ts";

/** Experts of a wave, and where they lie. */
export interface Wave {
  readonly slots: ExpertsInSlots;
  readonly experts: readonly number[];
}

/** The experts of a step in slots: all in full precision, or, in a lossy mode, some as their low-precision copies. */
export class StepExperts {
  readonly full: ExpertsInSlots;
  /** Undefined unless a lossy mode is on. */
  readonly low: ExpertsInSlots | undefined;
  readonly #cache: ExpertCache;
  readonly #lossy: LossyExperts | undefined;
  readonly #both: readonly ExpertsInSlots[];

  constructor(cache: ExpertCache, lossy: LossyExperts | undefined) {
    this.#cache = cache;
    this.#lossy = lossy;
    this.full = new ExpertsInSlots(cache);
    this.low = lossy && new ExpertsInSlots(lossy.low);
    this.#both = this.low ? [this.full, this.low] : [this.full];
  }

  /** Whether a policy looks at this. */
  sees(sight: Sight): boolean {
    return this.#both.some((slots) => slots.sees(sight));
  }

  /** Whether a policy looks at what each token was routed to. */
  get seesRouting(): boolean {
    return this.#both.some(({ seesRouting }) => seesRouting);
  }

  /** What policies are to be told; see {@link ExpertsInSlots.later}. */
  later(tell: (cache: ExpertCache) => void): void {
    for (const slots of this.#both) slots.later(tell);
  }

  /** A graph is being computed, or the disk is awaited: time for what is to be told. */
  working(): void {
    for (const slots of this.#both) slots.working();
  }

  /**
   * In which precision the experts of a layer are run.
   * @param shares see `Choice.shares`: made when a lossy mode asks for it
   */
  divide(layer: number, experts: readonly number[], shares: () => Float32Array | undefined): Division {
    if (!this.#lossy) return { full: experts, low: [], skipped: [] };
    return this.#lossy.divide({ layer, experts, shares: shares() });
  }

  /**
   * Has experts in slots until {@link StepExperts.letGo}.
   * @returns false when there are not so many slots
   * @throws StowageError expert_*
   */
  async hold(layer: number, { full, low }: Division): Promise<boolean> {
    if (!this.low) return this.full.hold(layer, full);
    if (!this.full.fits(layer, full.length) || !this.low.fits(layer, low.length)) return false;
    // Both have to settle, whatever becomes of one: what they hold is let go later.
    const held = await Promise.allSettled([this.full.hold(layer, full), this.low.hold(layer, low)]);
    for (const result of held) if (result.status === "rejected") throw result.reason;
    return true;
  }

  letGo(): void {
    for (const slots of this.#both) slots.letGo();
  }

  /** The step is over, whatever became of it. */
  finish(): void {
    for (const slots of this.#both) slots.finish();
  }

  /** Those in slots as they come; see {@link ExpertCache.waves}. */
  async *waves(layer: number, { full, low }: Division): AsyncGenerator<Wave> {
    for await (const experts of this.full.waves(layer, full)) yield { slots: this.full, experts };
    if (!this.low) return;
    for await (const experts of this.low.waves(layer, low)) yield { slots: this.low, experts };
  }

  /** A long step needs nearly all experts of each layer: those of the next may come while the disk is idle. */
  ahead(layer: number): void {
    if (typeof this.#cache.layout.layerClass[layer] !== "number") return;
    const { mode, low } = this.#lossy ?? {};
    const all = () => Array.from({ length: this.#cache.layout.experts }, (_, expert) => expert);
    this.#cache.wantWhole(layer, mode?.ahead(layer, "full") ?? all());
    if (mode && low) low.wantWhole(layer, mode.ahead(layer, "low"));
  }
}
