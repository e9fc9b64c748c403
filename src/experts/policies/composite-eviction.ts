import { GhostCache } from "./ghost-cache.ts";
import { LeastFrequentlyRecentlyUsed } from "./lfru.ts";
import { LeastRecentlyUsed } from "./lru.ts";
import type { EvictionPolicy, ExpertId, Moment, PolicyShape, RoutedLayer, StepToken } from "./policy.ts";
import { Successors } from "./successors.ts";

/** Evictions are compared over so many decode steps, then again for as long after so many times as many. */
const comparedSteps = 512;
const restFactor = 15;
/**
 * Ghosts of so many slots tell policies apart. Where there are more, they watch every second, third … expert with as many
 * fewer slots, and misses are scaled: a ghost looks at all it holds for each layer, on a processor that should compute (SHARDS,
 * Waldspurger et al., FAST 2015).
 */
const ghostSlots = 128;
/** What is in use stays unless another misses less by this share: counts differ by chance. */
const margin = 0.02;

/** Evicts by the policy whose ghost cache, of the same size, misses least on these requests. All of them learn all the time. */
export class CompositeEviction implements EvictionPolicy {
  readonly name = "composite";
  readonly #experts: number;
  /** One expert in so many is watched. */
  readonly #stride: number;
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
    this.#stride = Math.max(1, Math.floor(shape.slots / ghostSlots));
    const slots = Math.round(shape.slots / this.#stride);
    this.#ghosts = this.#policies.map((policy) => new GhostCache(policy, slots));
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
    if (this.#at === 0) {
      const watched = [...this.#present].filter((expert) => this.#watches(expert));
      for (const ghost of this.#ghosts) ghost.fill(watched);
    }
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

  /** Of each layer others, spread over it. */
  #watches(expert: ExpertId): boolean {
    return (expert + Math.floor(expert / this.#experts)) % this.#stride === 0;
  }

  #compare({ layer, tokens }: RoutedLayer, now: Moment): void {
    const used = new Set<ExpertId>();
    for (const { chosen } of tokens) {
      for (let rank = 0; rank < chosen.length; rank++) {
        const expert = layer * this.#experts + chosen[rank]!;
        if (this.#watches(expert)) used.add(expert);
      }
    }
    for (const ghost of this.#ghosts) ghost.used([...used], now);
  }

  #choose(): void {
    const misses = this.#ghosts.map((ghost) => ghost.misses * this.#stride);
    const current = misses[this.#policies.indexOf(this.#chosen)]!;
    const best = Math.min(...misses);
    if (best < current * (1 - margin)) this.#chosen = this.#policies[misses.indexOf(best)]!;
    this.#misses = misses;
  }
}
