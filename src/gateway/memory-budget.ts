import { StowageError } from "../errors.ts";

/** Something that holds memory and may be asked to give it back. */
export interface MemoryHolder {
  readonly name: string;
  /** Nobody uses it now, so it may be unloaded. */
  readonly idle: boolean;
  /** When it was last used, ms. */
  readonly lastUsed: number;
  /** Gives its memory back. */
  unload(): Promise<void>;
}

/** A client may try again so many seconds after models in use left no room. */
const roomRetrySeconds = 5;

/** How much memory loaded models may take together, and who leaves when another needs room: the one idle longest. */
export class MemoryBudget {
  readonly bytes: number;
  readonly #held = new Map<MemoryHolder, number>();
  /** Reservations are made one after the other: each may have to wait until others have left. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  /** What all holders take, bytes. */
  get held(): number {
    return [...this.#held.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /**
   * Reserves memory, unloading idle holders as far as needed, never one in use.
   * @param options.atCost whether others may be unloaded for it
   * @throws StowageError model_too_large, model_room
   */
  reserve(holder: MemoryHolder, bytes: number, options = { atCost: true }): Promise<void> {
    const reserved = this.#last.then(() => this.#reserveAlone(holder, bytes, options.atCost));
    this.#last = reserved.catch(() => {});
    return reserved;
  }

  release(holder: MemoryHolder): void {
    this.#held.delete(holder);
  }

  async #reserveAlone(holder: MemoryHolder, bytes: number, atCost: boolean): Promise<void> {
    if (bytes > this.bytes) {
      throw new StowageError("model_too_large", {
        model: holder.name,
        needed: mebibytes(bytes),
        budget: mebibytes(this.bytes),
      });
    }
    while (this.held + bytes > this.bytes) {
      const idle = [...this.#held.keys()].filter((other) => other.idle && atCost);
      if (idle.length === 0) throw this.#noRoom(holder, bytes);
      await idle.reduce((a, b) => (b.lastUsed < a.lastUsed ? b : a)).unload();
    }
    this.#held.set(holder, bytes);
  }

  #noRoom(holder: MemoryHolder, bytes: number): StowageError {
    return new StowageError("model_room", {
      model: holder.name,
      needed: mebibytes(bytes),
      budget: mebibytes(this.bytes),
      used: mebibytes(this.held),
      models: [...this.#held.keys()].map(({ name }) => name).join(", "),
      retryAfter: roomRetrySeconds,
    });
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
