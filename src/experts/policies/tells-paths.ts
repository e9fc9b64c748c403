import { PolicyPair } from "./pair.ts";
import type { PathPredictor } from "./path-predictor.ts";
import type { Moment, RoutedLayer } from "./policy.ts";
import type { Wanted } from "./prefetch-policy.ts";

/** The same policies; a predictor of paths is told, too, what routers show. */
export class TellsPaths extends PolicyPair {
  readonly #predictor: PathPredictor;

  constructor({ eviction, prefetch }: PolicyPair, predictor: PathPredictor) {
    super(eviction, prefetch);
    this.#predictor = predictor;
  }

  override get seesRouting(): boolean {
    return true;
  }

  override routed(seen: RoutedLayer, now: Moment): Wanted {
    this.#predictor.routed(seen);
    return super.routed(seen, now);
  }
}
