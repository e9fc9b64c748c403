/** A read that was asked for. */
export interface QueuedRead {
  /** Settles with the read; rejects with what it threw, or with {@link ReadCancelled}. */
  readonly done: Promise<void>;
  /** Somebody waits for it now: it goes before every prefetch that has not begun. */
  promote(): void;
  /** Takes it out of the queue. @returns false when it has begun */
  cancel(): boolean;
}

/** A prefetch that was taken out of the queue before it began. */
export class ReadCancelled extends Error {}

interface Entry {
  readonly read: () => Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Starts reads, so many at a time: those that somebody waits for in their order, then prefetches in theirs. A prefetch
 * begins only where no demand waits.
 */
export class ReadQueue {
  readonly #limit: number;
  readonly #demand: Entry[] = [];
  readonly #prefetch: Entry[] = [];
  #running = 0;
  #idle: (() => void)[] = [];

  /** @param limit most reads in flight */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get inFlight(): number {
    return this.#running;
  }

  /** Reads that wait for their turn. */
  get waiting(): { demand: number; prefetch: number } {
    return { demand: this.#demand.length, prefetch: this.#prefetch.length };
  }

  push(kind: "demand" | "prefetch", read: () => Promise<void>): QueuedRead {
    let entry: Entry | undefined;
    const done = new Promise<void>((resolve, reject) => {
      entry = { read, resolve, reject };
    });
    // A prefetch may fail or be cancelled with nobody waiting.
    done.catch(() => {});
    (kind === "demand" ? this.#demand : this.#prefetch).push(entry!);
    this.#start();
    return {
      done,
      promote: () => {
        if (this.#take(this.#prefetch, entry!)) this.#demand.push(entry!);
        this.#start();
      },
      cancel: () => {
        const taken = this.#take(this.#prefetch, entry!) || this.#take(this.#demand, entry!);
        if (taken) entry!.reject(new ReadCancelled());
        return taken;
      },
    };
  }

  /** When nothing is in flight any more. Nothing new may be pushed meanwhile. */
  async settled(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #take(list: Entry[], entry: Entry): boolean {
    const index = list.indexOf(entry);
    if (index >= 0) list.splice(index, 1);
    return index >= 0;
  }

  #start(): void {
    while (this.#running < this.#limit) {
      const entry = this.#demand.shift() ?? this.#prefetch.shift();
      if (!entry) return;
      this.#running++;
      void entry
        .read()
        .then(entry.resolve, entry.reject)
        .finally(() => {
          this.#running--;
          this.#start();
          if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
        });
    }
  }
}
