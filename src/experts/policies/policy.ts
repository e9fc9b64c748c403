/** An expert of a model: layer times experts a layer, plus its number in the layer. */
export type ExpertId = number;

/** The experts of a model: those of layer l have the numbers from l times `experts` on. */
export interface ExpertShape {
  readonly layers: number;
  /** Of each layer. */
  readonly experts: number;
}

/** When something happened: ticks count the layers that were run, so time stands still while nothing runs. */
export interface Moment {
  readonly tick: number;
  readonly layer: number;
}

/** What a router has shown of one token. */
export interface RoutedToken {
  /** Whose token it is. */
  readonly request: number;
  /** Its id in the vocabulary; -1 where that is not known. */
  readonly token: number;
  /** Chosen experts by falling rank. */
  readonly chosen: ArrayLike<number>;
  /** Softmax over all experts of the layer; only traces tell it so far. */
  readonly probabilities?: Float32Array;
}

/** What a decode step has shown at a layer. */
export interface RoutedLayer {
  readonly layer: number;
  readonly tokens: readonly RoutedToken[];
}

/**
 * Which expert leaves the cache when another needs its slot. A policy does no I/O and has no clock: it is told what
 * happened and asked what to do.
 */
export interface EvictionPolicy {
  readonly name: string;
  /** A router has chosen: told before its experts are `used`, to policies that look at more than that. */
  routed?(seen: RoutedLayer, now: Moment): void;
  /** A token's router chose the expert; called once for each that a decode step chose at a layer. */
  used(expert: ExpertId, now: Moment): void;
  /** The expert has a slot from now on. */
  entered(expert: ExpertId, now: Moment): void;
  /** The expert has lost its slot. */
  left(expert: ExpertId): void;
  /** One of the candidates, of which there is at least one. None of them is in use. */
  victim(candidates: readonly ExpertId[], now: Moment): ExpertId;
}

/** The candidate of the least value; of equals, the first. */
export function least(candidates: readonly ExpertId[], value: (expert: ExpertId) => number): ExpertId {
  let best = candidates[0]!;
  let bestValue = value(best);
  for (let index = 1; index < candidates.length; index++) {
    const candidateValue = value(candidates[index]!);
    if (candidateValue < bestValue) {
      best = candidates[index]!;
      bestValue = candidateValue;
    }
  }
  return best;
}
