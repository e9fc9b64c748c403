/** An expert of a model: layer times experts a layer, plus its number in the layer. */
export type ExpertId = number;

/** When something happened: ticks count the layers that were run, so time stands still while nothing runs. */
export interface Moment {
  readonly tick: number;
  readonly layer: number;
}

/**
 * Which expert leaves the cache when another needs its slot. A policy does no I/O and has no clock: it is told what
 * happened and asked what to do.
 */
export interface EvictionPolicy {
  readonly name: string;
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
