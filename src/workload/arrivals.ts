import type { Random } from "./random.ts";

/** How requests of a given rate come: evenly, at random, or at random in bursts. */
export type ArrivalKind = "constant" | "poisson" | "gamma";

export const arrivalKinds: readonly ArrivalKind[] = ["constant", "poisson", "gamma"];

export interface Arrivals {
  readonly kind: ArrivalKind;
  /** Requests a second, on average. */
  readonly rate: number;
  /** Of `gamma`: deviation of the gaps over their mean. 1 is a Poisson process; above it come bursts. */
  readonly variation?: number;
}

/**
 * When each request is due, ms from the start: the first at 0, then without end. The gaps are constant, exponential, or Gamma
 * with shape 1 / variation².
 */
export function* arrivalTimes(
  { kind, rate, variation = 1 }: Arrivals,
  random: Random,
): Generator<number, never> {
  const mean = 1000 / rate;
  const shape = kind === "gamma" ? 1 / variation ** 2 : 1;
  for (let time = 0; ; ) {
    yield time;
    time += kind === "constant" ? mean : (mean / shape) * random.gamma(shape);
  }
}
