/**
 * Stop strings in streamed text. The text ends before the match that starts first; of several that start there,
 * the longest counts. The outcome depends on the text alone, not on how it is cut into deltas.
 */

/** Finds stop strings in text that arrives in deltas; holds back only what may still turn out to be one. */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";
  #stopped: string | undefined;

  /** `stops`: non-empty strings. */
  constructor(stops: readonly string[]) {
    this.#stops = [...stops].sort((a, b) => b.length - a.length);
  }

  /** The stop string that ended the text, if one did. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /**
   * Takes the next delta. `emit` is text that no stop string can claim any more; `stopped` is set once a stop string
   * is found, and everything after it is dropped. A match is held while a longer one, or one that starts earlier,
   * may still be completed.
   */
  push(text: string): { emit: string; stopped?: string } {
    if (this.#stopped !== undefined) return { emit: "", stopped: this.#stopped };
    const held = this.#held + text;
    for (let at = 0; at < held.length; at++) {
      if (this.#mayGrow(held, at)) return this.#emit(held, at);
      const stop = this.#stops.find((stop) => held.startsWith(stop, at));
      if (stop !== undefined) return this.#stop(held, at, stop);
    }
    return this.#emit(held, held.length);
  }

  /**
   * Ends the text and returns what was held back. If that holds a match that waited for a longer one, the text ends
   * before it, and {@link stopped} tells which.
   */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    for (let at = 0; at < held.length; at++) {
      const stop = this.#stops.find((stop) => held.startsWith(stop, at));
      if (stop !== undefined) return this.#stop(held, at, stop).emit;
    }
    return held;
  }

  /** Whether the text from `at` on is the beginning of a stop string, and not yet all of it. */
  #mayGrow(text: string, at: number): boolean {
    const length = text.length - at;
    return this.#stops.some((stop) => stop.length > length && text.endsWith(stop.slice(0, length)));
  }

  #emit(held: string, upTo: number): { emit: string } {
    this.#held = held.slice(upTo);
    return { emit: held.slice(0, upTo) };
  }

  #stop(held: string, at: number, stop: string): { emit: string; stopped: string } {
    this.#held = "";
    this.#stopped = stop;
    return { emit: held.slice(0, at), stopped: stop };
  }
}
