import { availableParallelism } from "node:os";

/** An engine that can be told how many threads it may use. */
export interface ThreadUser {
  useThreads(count: number): void;
}

/**
 * Shares the processors among the engines that have work. Compute threads wait for each other after every node of a graph:
 * where there are more of them than processors, each waits for one that does not run (docs/decisions/0016).
 */
export class ThreadShares {
  readonly #processors: number;
  /** Requests that each engine works on, and the share that it was told. */
  readonly #working = new Map<ThreadUser, { requests: number; share: number }>();

  constructor(processors = availableParallelism()) {
    this.#processors = processors;
  }

  /** An engine begins to work on a request. @returns to be called when that has ended */
  begin(engine: ThreadUser): () => void {
    const work = this.#working.get(engine) ?? { requests: 0, share: 0 };
    this.#working.set(engine, work);
    work.requests++;
    this.#tell();
    return () => {
      if (--work.requests > 0) return;
      this.#working.delete(engine);
      this.#tell();
    };
  }

  #tell(): void {
    const share = Math.max(1, Math.floor(this.#processors / this.#working.size));
    for (const [engine, work] of this.#working) {
      if (work.share === share) continue;
      work.share = share;
      engine.useThreads(share);
    }
  }
}
