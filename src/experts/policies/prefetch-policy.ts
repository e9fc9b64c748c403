import type { RoutedLayer } from "./policy.ts";

/** What a decode step has shown at a layer, by the time when its experts are known. */
export interface LayerSeen {
  readonly layer: number;
  /** Experts that the step chose. */
  readonly chosen: readonly number[];
  /** Experts that the next layer's router would choose for the hidden state of this one; empty at the last layer. */
  readonly nextGate: readonly number[];
  /** What the router showed of each token, where that is known. */
  readonly routed?: RoutedLayer;
}

/** Experts of a layer, those first that matter most. */
export interface Wanted {
  readonly layer: number;
  readonly experts: readonly number[];
}

/**
 * Which experts to read before they are asked for. No I/O and no clock: it is told what happened and says what it would
 * like; whether and when that is read, the mechanism decides.
 */
export interface PrefetchPolicy {
  readonly name: string;
  /** Whether {@link LayerSeen.nextGate} is to be computed. */
  readonly usesNextGate: boolean;
  ahead(seen: LayerSeen): readonly Wanted[];
}
