/** A read on the simulated disk. */
export interface SimulatedRead {
  done: boolean;
}

/**
 * A disk that reads one record after the other, each in the same time: those that somebody waits for in their order, then,
 * when there are none, what is wanted ahead. Its clock is told, in ms.
 */
export class SimulatedDisk {
  readonly #readMs: number;
  readonly #ahead: (now: number) => SimulatedRead | undefined;
  readonly #demand: SimulatedRead[] = [];
  #current: SimulatedRead | undefined;
  /** When the current read ends; when there is none, until when nothing was to be read. */
  #time = 0;
  reads = 0;

  /** @param ahead gives the next read that nobody waits for yet, when the disk is free for it */
  constructor(readMs: number, ahead: (now: number) => SimulatedRead | undefined = () => undefined) {
    this.#readMs = readMs;
    this.#ahead = ahead;
  }

  /** A read that somebody waits for. */
  demand(now: number): SimulatedRead {
    this.advance(now);
    const read: SimulatedRead = { done: false };
    this.#demand.push(read);
    this.advance(now);
    return read;
  }

  /** Lets time pass up to `now`. */
  advance(now: number): void {
    for (;;) {
      if (this.#current) {
        if (this.#time > now) return;
        this.#current.done = true;
        this.#current = undefined;
      }
      const next = this.#demand.shift() ?? this.#ahead(this.#time);
      if (!next) {
        this.#time = Math.max(this.#time, now);
        return;
      }
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
}
