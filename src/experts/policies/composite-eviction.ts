import { GhostCache } from "./ghost-cache.ts";
import { LeastFrequentlyRecentlyUsed } from "./lfru.ts";
import { LeastRecentlyUsed } from "./lru.ts";
import type { EvictionPolicy, ExpertId, Moment, PolicyShape, RoutedLayer, StepToken } from "./policy.ts";
import { Successors } from "./successors.ts";

/** Evictions are compared over so many decode steps, then again for as long after so many times as many. */
const comparedSteps = 512;
const restFactor = 15;
/** What is in use stays unless another misses less by this share: counts differ by chance. */
const margin = 0.02;

/** Evicts by the policy whose ghost cache, of the same size, misses least on these requests. All of them learn all the time. */
export class CompositeEviction implements EvictionPolicy {
  readonly name = "composite";
  readonly #experts: number;
  readonly #policies: readonly EvictionPolicy[];
  readonly #ghosts: readonly GhostCache[];
  readonly #present = new Set<ExpertId>();
  #chosen: EvictionPolicy;
  #steps = 0;
  /** Misses when they were compared last, in the order of the policies. */
  #misses: readonly number[] | undefined;

  constructor(shape: PolicyShape) {
    this.#experts = shape.experts;
    this.#policies = [new Successors(shape), new LeastFrequentlyRecentlyUsed(), new LeastRecentlyUsed()];
    this.#ghosts = this.#policies.map((policy) => new GhostCache(policy, shape.slots));
    this.#chosen = this.#policies[0]!;
  }

  says(): string {
    if (!this.#misses) return `evicts by ${this.#chosen.name}`;
    const misses = this.#policies.map(({ name }, index) => `${name} ${this.#misses![index]}`);
    return `evicts by ${this.#chosen.name}; misses in ${comparedSteps} steps: ${misses.join(", ")}`;
  }

  acting(): string {
    return this.#chosen.name;
  }

  began(tokens: readonly StepToken[], now: Moment): void {
    this.#steps++;
    if (this.#at === 0) for (const ghost of this.#ghosts) ghost.fill(this.#present);
    if (this.#at === comparedSteps) this.#choose();
    for (const policy of this.#policies) policy.began?.(tokens, now);
  }

  routed(seen: RoutedLayer, now: Moment): void {
    if (seen.decoding && this.#at < comparedSteps) this.#compare(seen, now);
    for (const policy of this.#policies) policy.routed?.(seen, now);
  }

  used(expert: ExpertId, now: Moment): void {
    for (const policy of this.#policies) policy.used(expert, now);
  }

  entered(expert: ExpertId, now: Moment): void {
    this.#present.add(expert);
    for (const policy of this.#policies) policy.entered(expert, now);
  }

  left(expert: ExpertId): void {
    this.#present.delete(expert);
    for (const policy of this.#policies) policy.left(expert);
  }

  worth(expert: ExpertId, now: Moment): number {
    return this.#chosen.worth(expert, now);
  }

  /** Steps since the latest comparison began. */
  get #at(): number {
    return this.#steps % ((1 + restFactor) * comparedSteps);
  }

  #compare({ layer, tokens }: RoutedLayer, now: Moment): void {
    const used = new Set<ExpertId>();
    for (const { chosen } of tokens) {
      for (let rank = 0; rank < chosen.length; rank++) used.add(layer * this.#experts + chosen[rank]!);
    }
    for (const ghost of this.#ghosts) ghost.used([...used], now);
  }

  #choose(): void {
    const misses = this.#ghosts.map((ghost) => ghost.misses);
    const current = misses[this.#policies.indexOf(this.#chosen)]!;
    const best = Math.min(...misses);
    if (best < current * (1 - margin)) this.#chosen = this.#policies[misses.indexOf(best)]!;
    this.#misses = misses;
  }
}
