import type { GuessedLayer } from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

/**
 * The next layer's router, run on the hidden state that the current layer's router sees (Mixtral-offloading, arXiv
 * 2312.17238, section 3.2; Fate, arXiv 2502.12224). A layer adds little to the residual stream, so most of what the next
 * router will choose can be told a layer before. Ours feeds the state after attention, normalised by the next layer's own
 * weights; Mixtral-offloading feeds the state before the layer.
 */
export class NextGate implements PrefetchPolicy {
  readonly name = "next-gate";
  readonly sees = ["next-gate"] as const;
  readonly #experts: number;

  constructor({ experts }: { readonly experts: number }) {
    this.#experts = experts;
  }

  guessed({ layer, experts }: GuessedLayer): Wanted {
    return experts.map((expert) => layer * this.#experts + expert);
  }
}
