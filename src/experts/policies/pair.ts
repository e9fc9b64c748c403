import type {
  EvictionPolicy,
  GuessedLayer,
  Learner,
  Moment,
  RoutedLayer,
  Sight,
  StepCost,
  StepToken,
} from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

/** Names of the policies that decide at a moment. */
export interface ActingPolicies {
  readonly eviction: string;
  /** `none` where nothing is read ahead. */
  readonly prefetch: string;
}

/** Who decides for a cache: what leaves, and what is read ahead. Tells both what happened, one of both roles once. */
export class PolicyPair {
  readonly eviction: EvictionPolicy;
  readonly prefetch: PrefetchPolicy | undefined;
  readonly #other: EvictionPolicy | undefined;

  constructor(eviction: EvictionPolicy, prefetch: PrefetchPolicy | undefined) {
    this.eviction = eviction;
    this.prefetch = prefetch;
    this.#other = (prefetch as unknown) === eviction ? undefined : eviction;
  }

  /** What evicts and what reads ahead, for people. */
  get name(): string {
    const names = new Set([this.#other?.name, this.prefetch?.name].filter((name) => name !== undefined));
    return [...names].join(" and ");
  }

  /** What they have come to, for people. */
  get says(): string | undefined {
    const said = [this.#other?.says?.(), this.prefetch?.says?.()].filter((text) => text !== undefined);
    return said.length === 0 ? undefined : said.join("; ");
  }

  /** Who decides now, where one of them chooses among others. */
  get acting(): ActingPolicies {
    const { eviction, prefetch } = this;
    return {
      eviction: eviction.acting?.() ?? eviction.name,
      prefetch: prefetch?.acting?.() ?? prefetch?.name ?? "none",
    };
  }

  /** Those of which something outlives the process. */
  get learners(): Learner[] {
    return [this.#other, this.prefetch].filter(isLearner);
  }

  /** Whether one of them looks at this. */
  sees(sight: Sight): boolean {
    return [this.#other, this.prefetch].some((policy) => policy?.sees?.includes(sight));
  }

  /** Whether one of them looks at what each token was routed to. */
  get seesRouting(): boolean {
    return this.eviction.routed !== undefined || this.prefetch?.routed !== undefined;
  }

  began(tokens: readonly StepToken[], now: Moment): Wanted {
    this.#other?.began?.(tokens, now);
    return this.prefetch?.began?.(tokens, now);
  }

  routed(seen: RoutedLayer, now: Moment): Wanted {
    this.#other?.routed?.(seen, now);
    return this.prefetch?.routed?.(seen, now);
  }

  guessed(guess: GuessedLayer, now: Moment): Wanted {
    this.#other?.guessed?.(guess, now);
    return this.prefetch?.guessed?.(guess, now);
  }

  stepped(cost: StepCost, now: Moment): void {
    this.#other?.stepped?.(cost, now);
    this.prefetch?.stepped?.(cost, now);
  }
}

function isLearner(policy: unknown): policy is Learner {
  return typeof (policy as Partial<Learner> | undefined)?.learnt === "function";
}
