import { NextGate } from "./next-gate.ts";
import { Paths } from "./paths.ts";
import type { GuessedLayer, Moment, PolicyShape, RoutedLayer, Sight, StepCost, StepToken } from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

/** Decode steps in which one way of reading ahead is measured. */
const windowSteps = 24;
/** Of those, the slowest do not count: what else the machine did then says nothing. */
const slowestSteps = 4;
/** Another way is tried again after so many windows. */
const retryWindows = 24;
/** How fast the notion of a step's time follows what is measured. */
const newerWeight = 0.5;

/** A way of reading ahead, or none. */
interface Way {
  readonly name: string;
  readonly policy: PrefetchPolicy | undefined;
  /** Mean time of a decode step with it, ms, once it was measured. */
  stepMs: number | undefined;
}

/**
 * Reads ahead in the way with which decode steps take least time, or not at all: a wrong guess costs a read and may push
 * out what is needed, a right one saves no more than the computation that it overlaps, and only the clock tells which
 * weighs more. Each way is measured in its turn at first, then now and again; all of them learn all the time.
 */
export class CompositePrefetch implements PrefetchPolicy {
  readonly name = "composite";
  readonly #ways: readonly Way[];
  #way: Way;
  #windows = 0;
  /** Times of the window's steps, ms. */
  #times: number[] = [];

  constructor(shape: PolicyShape) {
    this.#ways = [
      { name: "paths", policy: new Paths(shape), stepMs: undefined },
      { name: "next-gate", policy: new NextGate(shape), stepMs: undefined },
      { name: "none", policy: undefined, stepMs: undefined },
    ];
    this.#way = this.#ways[0]!;
  }

  get sees(): readonly Sight[] {
    return this.#way.policy?.sees ?? [];
  }

  says(): string {
    const measured = this.#ways.flatMap(({ name, stepMs }) =>
      stepMs === undefined ? [] : `${name} ${stepMs.toFixed(2)}`,
    );
    const best = this.#best().name;
    return measured.length === 0
      ? `reads ahead by ${best}`
      : `reads ahead by ${best}; ms a step: ${measured.join(", ")}`;
  }

  acting(): string {
    return this.#way.name;
  }

  began(tokens: readonly StepToken[], now: Moment): Wanted {
    return this.#tell((policy) => policy.began?.(tokens, now));
  }

  routed(seen: RoutedLayer, now: Moment): Wanted {
    return this.#tell((policy) => policy.routed?.(seen, now));
  }

  guessed(guess: GuessedLayer, now: Moment): Wanted {
    return this.#tell((policy) => policy.guessed?.(guess, now));
  }

  stepped({ ms }: StepCost): void {
    this.#times.push(ms);
    if (this.#times.length < windowSteps) return;
    const usual = this.#times.sort((a, b) => a - b).slice(0, -slowestSteps);
    const mean = usual.reduce((sum, time) => sum + time, 0) / usual.length;
    const known = this.#way.stepMs;
    // The first window fills slots: it tells nothing.
    if (this.#windows > 0)
      this.#way.stepMs = known === undefined ? mean : known + (mean - known) * newerWeight;
    this.#windows++;
    this.#times = [];
    this.#way = this.#next();
  }

  /** What the way in use wants is wanted. */
  #tell(tell: (policy: PrefetchPolicy) => Wanted): Wanted {
    let wanted: Wanted;
    for (const { policy, name } of this.#ways) {
      const its = policy && tell(policy);
      if (name === this.#way.name) wanted = its;
    }
    return wanted;
  }

  #next(): Way {
    const untried = this.#ways.find(({ stepMs }) => stepMs === undefined);
    if (untried) return untried;
    const best = this.#best();
    if (this.#windows % retryWindows > 0) return best;
    const others = this.#ways.filter((way) => way !== best);
    return others[(this.#windows / retryWindows) % others.length]!;
  }

  #best(): Way {
    const time = ({ stepMs = Number.POSITIVE_INFINITY }: Way) => stepMs;
    return this.#ways.reduce((best, way) => (time(way) < time(best) ? way : best));
  }
}
