/** A read on the simulated disk. */
export interface SimulatedRead {
  readonly kind: "demand" | "prefetch";
  done: boolean;
  started: boolean;
}

/**
 * A disk that reads one record after the other, each in the same time: those that somebody waits for in their order, then
 * prefetches in theirs, as the engine's queue does. Its clock is told, in ms.
 */
export class SimulatedDisk {
  readonly #readMs: number;
  readonly #demand: SimulatedRead[] = [];
  readonly #prefetch: SimulatedRead[] = [];
  #current: SimulatedRead | undefined;
  /** When the current read ends; when there is none, until when nothing was to be read. */
  #time = 0;
  reads = 0;

  constructor(readMs: number) {
    this.#readMs = readMs;
  }

  push(kind: SimulatedRead["kind"], now: number): SimulatedRead {
    this.advance(now);
    const read: SimulatedRead = { kind, done: false, started: false };
    (kind === "demand" ? this.#demand : this.#prefetch).push(read);
    this.advance(now);
    return read;
  }

  /** Somebody waits for a prefetch now. */
  promote(read: SimulatedRead): void {
    if (this.#take(read)) this.#demand.push(read);
  }

  /** @returns false when it has begun */
  cancel(read: SimulatedRead): boolean {
    return this.#take(read);
  }

  /** Lets time pass up to `now`. */
  advance(now: number): void {
    for (;;) {
      if (this.#current) {
        if (this.#time > now) return;
        this.#current.done = true;
        this.#current = undefined;
      }
      const next = this.#demand.shift() ?? this.#prefetch.shift();
      if (!next) {
        this.#time = Math.max(this.#time, now);
        return;
      }
      next.started = true;
      this.reads++;
      this.#current = next;
      this.#time += this.#readMs;
    }
  }

  /** When all of these are done, not before `now`. */
  wait(reads: readonly SimulatedRead[], now: number): number {
    let time = now;
    while (reads.some(({ done }) => !done)) {
      time = Math.max(time, this.#time);
      this.advance(time);
    }
    return time;
  }

  #take(read: SimulatedRead): boolean {
    const index = this.#prefetch.indexOf(read);
    if (index >= 0) this.#prefetch.splice(index, 1);
    return index >= 0;
  }
}
