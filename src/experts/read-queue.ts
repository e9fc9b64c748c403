/** A read that was asked for. */
export interface QueuedRead {
  /** Settles with the read; rejects with what it threw, or with {@link ReadCancelled}. */
  readonly done: Promise<void>;
  /** Takes it out of the queue. @returns false when it has begun */
  cancel(): boolean;
}

/** A read that was taken out of the queue before it began. */
export class ReadCancelled extends Error {}

interface Entry {
  readonly read: () => Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Starts reads, so many at a time: those that somebody waits for in their order. While none of them waits for its turn, it
 * takes what is to be read ahead, one by one.
 */
export class ReadQueue {
  readonly #limit: number;
  readonly #ahead: () => (() => Promise<void>) | undefined;
  readonly #waiting: Entry[] = [];
  #running = 0;
  #starting = false;
  #closed = false;
  #idle: (() => void)[] = [];

  /**
   * @param limit most reads in flight
   * @param ahead gives the next read that nobody waits for yet, when it can begin; its errors are its own
   */
  constructor(limit: number, ahead: () => (() => Promise<void>) | undefined = () => undefined) {
    this.#limit = limit;
    this.#ahead = ahead;
  }

  get inFlight(): number {
    return this.#running;
  }

  /** Reads that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Queues a read that somebody waits for. */
  push(read: () => Promise<void>): QueuedRead {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry = { read, resolve, reject };
    // It may fail or be cancelled with nobody waiting.
    promise.catch(() => {});
    this.#waiting.push(entry);
    this.start();
    return { done: promise, cancel: () => this.#cancel(entry) };
  }

  /** There may be something to read ahead. */
  start(): void {
    // What is read ahead may ask for more while it begins.
    if (this.#starting || this.#closed) return;
    this.#starting = true;
    while (this.#running < this.#limit) {
      const entry = this.#waiting.shift() ?? this.#nextAhead();
      if (!entry) break;
      this.#run(entry);
    }
    this.#starting = false;
  }

  /** Drops what waits, and waits until nothing is in flight any more. Nothing is read after that. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new ReadCancelled());
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #nextAhead(): Entry | undefined {
    const read = this.#ahead();
    return read && { read, resolve: () => {}, reject: () => {} };
  }

  #cancel(entry: Entry): boolean {
    const index = this.#waiting.indexOf(entry);
    if (index < 0) return false;
    this.#waiting.splice(index, 1);
    entry.reject(new ReadCancelled());
    return true;
  }

  #run({ read, resolve, reject }: Entry): void {
    this.#running++;
    void read()
      .then(resolve, reject)
      .finally(() => {
        this.#running--;
        this.start();
        if (this.#running === 0) for (const end of this.#idle.splice(0)) end();
      });
  }
}
