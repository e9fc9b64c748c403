import type { GuessedLayer } from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

/**
 * A layer's own router, run before the layer's attention, so that reads overlap attention (SmallThinker, arXiv 2507.20984,
 * section on the pre-attention router). SmallThinker is trained with its router there, so that its choice is the truth. Ours
 * is for ordinary models: the router is run on a state that it was not trained on, what it says is a guess, and the
 * layer's true choice follows after attention. It costs a graph more a layer.
 */
export class PreAttention implements PrefetchPolicy {
  readonly name = "pre-attention";
  readonly sees = ["pre-attention"] as const;
  readonly #experts: number;

  constructor({ experts }: { readonly experts: number }) {
    this.#experts = experts;
  }

  guessed({ layer, experts }: GuessedLayer): Wanted {
    return experts.map((expert) => layer * this.#experts + expert);
  }
}
