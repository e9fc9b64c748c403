import type {
  EvictionPolicy,
  GuessedLayer,
  Moment,
  RoutedLayer,
  Sight,
  StepCost,
  StepToken,
} from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

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

  /** What evicts and what reads ahead, for people: one name where both are one, and what they have to say. */
  get name(): string {
    const names = [this.#other?.name, this.prefetch?.name].filter((name) => name !== undefined).join(" and ");
    const said = this.eviction.says?.() ?? this.prefetch?.says?.();
    return said === undefined ? names : `${names} (${said})`;
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
