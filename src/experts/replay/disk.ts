/** A read on the simulated disk. */
export interface SimulatedRead {
  done: boolean;
}

/** What reads take, ms. */
export interface DiskCosts {
  /** Each, when others are under way. */
  readonly readMs: number;
  /** From asking for a read to the beginning of its bytes, which overlaps with other reads: one of these, drawn. Default: 0. */
  readonly latencies?: readonly number[];
  /** Most reads under way at once. Default: 1. */
  readonly readsInFlight?: number | undefined;
}

/**
 * A disk that takes so long for n reads that are asked for together: the latency of the slowest, or little more, + n · read. Reads that somebody waits for begin
 * in their order, then, when there are none, what is wanted ahead. Its clock is told, in ms.
 */
export class SimulatedDisk {
  readonly #costs: DiskCosts;
  readonly #ahead: () => SimulatedRead | undefined;
  readonly #demand: SimulatedRead[] = [];
  /** In the order in which they end. */
  readonly #flight: { readonly read: SimulatedRead; readonly end: number }[] = [];
  #time = 0;
  #lastEnd = 0;
  #draw = 1;
  /** Reads that have begun. */
  reads = 0;

  /** @param ahead gives the next read that nobody waits for yet, when the disk is free for it */
  constructor(costs: DiskCosts, ahead: () => SimulatedRead | undefined = () => undefined) {
    this.#costs = costs;
    this.#ahead = ahead;
  }

  /** A read that somebody waits for; it goes before what is wanted ahead. @returns it */
  demand(read: SimulatedRead, now: number): SimulatedRead {
    this.advance(now);
    this.#demand.push(read);
    this.#begin();
    return read;
  }

  /** Lets time pass up to `now`. */
  advance(now: number): void {
    for (;;) {
      this.#begin();
      const next = this.#flight[0];
      if (!next || next.end > now) {
        this.#time = Math.max(this.#time, now);
        return;
      }
      this.#flight.shift();
      this.#time = Math.max(this.#time, next.end);
      next.read.done = true;
    }
  }

  /** When all of these are done, not before `now`. */
  wait(reads: readonly SimulatedRead[], now: number): number {
    let time = now;
    while (reads.some(({ done }) => !done)) {
      time = Math.max(time, this.#flight[0]!.end);
      this.advance(time);
    }
    return time;
  }

  #begin(): void {
    const { readMs, readsInFlight = 1 } = this.#costs;
    while (this.#flight.length < readsInFlight) {
      const read = this.#demand.shift() ?? this.#ahead();
      if (!read) return;
      this.reads++;
      this.#lastEnd = Math.max(this.#time + this.#latency(), this.#lastEnd) + readMs;
      this.#flight.push({ read, end: this.#lastEnd });
    }
  }

  /** The same draws in every replay. */
  #latency(): number {
    const { latencies = [] } = this.#costs;
    this.#draw = (this.#draw * 48_271) % 2_147_483_647;
    return latencies[this.#draw % latencies.length] ?? 0;
  }
}
