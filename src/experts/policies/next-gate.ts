import type { LayerSeen, PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

/**
 * The next layer's router, run on the hidden state that the current layer's router sees (Mixtral-offloading, arXiv
 * 2312.17238, section 3.2; Fate, arXiv 2502.12224). A layer adds little to the residual stream, so most of what the next
 * router will choose can be told a layer before. Ours feeds the state after attention, normalised by the next layer's own
 * weights; Mixtral-offloading feeds the state before the layer.
 */
export class NextGate implements PrefetchPolicy {
  readonly name = "next-gate";
  readonly usesNextGate = true;

  ahead({ layer, nextGate }: LayerSeen): readonly Wanted[] {
    return nextGate.length > 0 ? [{ layer: layer + 1, experts: nextGate }] : [];
  }
}
