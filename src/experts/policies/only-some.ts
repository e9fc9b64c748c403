import { PolicyPair } from "./pair.ts";
import type { ExpertId, GuessedLayer, Moment, RoutedLayer, StepToken } from "./policy.ts";
import type { Wanted } from "./prefetch-policy.ts";

/** The same policies over a cache that holds only some of the experts: no others are read ahead. */
export class OnlySome extends PolicyPair {
  readonly #held: ReadonlySet<ExpertId>;

  constructor({ eviction, prefetch }: PolicyPair, held: ReadonlySet<ExpertId>) {
    super(eviction, prefetch);
    this.#held = held;
  }

  override began(tokens: readonly StepToken[], now: Moment): Wanted {
    return this.#only(super.began(tokens, now));
  }

  override routed(seen: RoutedLayer, now: Moment): Wanted {
    return this.#only(super.routed(seen, now));
  }

  override guessed(guess: GuessedLayer, now: Moment): Wanted {
    return this.#only(super.guessed(guess, now));
  }

  #only(wanted: Wanted): Wanted {
    return wanted && [...wanted].filter((id) => this.#held.has(id));
  }
}
