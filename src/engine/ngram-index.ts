/** Where the last tokens of a sequence have stood before: what followed them then may follow now. */

/** Tokens that have to agree at least. */
const leastTokens = 3;
/** Longer agreements are told as this long. */
export const mostTokens = 32;
/** Earlier places that are compared, latest first. */
const placesCompared = 8;

/** The longest earlier place that ends as the sequence does: `at` is the position after it. */
export interface Match {
  readonly at: number;
  readonly length: number;
}

/**
 * All runs of three tokens of one sequence, by their hash. A token costs one entry; nothing is searched but the places
 * of the last three tokens.
 */
export class NgramIndex {
  readonly #tokens: readonly number[];
  /** The latest position after a run of this hash. */
  readonly #latest = new Map<number, number>();
  /** For every position, the one before it after a run of the same hash. */
  readonly #earlier: number[] = [];
  #indexed = leastTokens;

  /** @param tokens those of the sequence, which may grow */
  constructor(tokens: readonly number[]) {
    this.#tokens = tokens;
  }

  /** @returns undefined when the last three tokens have not stood together before */
  match(): Match | undefined {
    const end = this.#tokens.length;
    // What ends where the sequence does has nothing behind it yet.
    for (; this.#indexed < end; this.#indexed++) {
      const hash = this.#hashBefore(this.#indexed);
      this.#earlier[this.#indexed] = this.#latest.get(hash) ?? -1;
      this.#latest.set(hash, this.#indexed);
    }
    if (end < leastTokens) return undefined;
    let best: Match | undefined;
    let at = this.#latest.get(this.#hashBefore(end)) ?? -1;
    for (let compared = 0; at >= 0 && compared < placesCompared; compared++) {
      const length = this.#agreement(at);
      if (length >= leastTokens && length > (best?.length ?? 0)) best = { at, length };
      at = this.#earlier[at]!;
    }
    return best;
  }

  /** The `count` tokens from a position on; behind the end they repeat. */
  from(at: number, count: number): number[] {
    const tokens: number[] = [];
    for (let i = 0; i < count; i++) {
      tokens.push(this.#tokens[at + i] ?? tokens[at + i - this.#tokens.length]!);
    }
    return tokens;
  }

  /** How many tokens before a position equal those at the end. */
  #agreement(at: number): number {
    const end = this.#tokens.length;
    const most = Math.min(at, mostTokens);
    let length = 0;
    while (length < most && this.#tokens[at - 1 - length] === this.#tokens[end - 1 - length]) length++;
    return length;
  }

  #hashBefore(end: number): number {
    let hash = 0;
    for (let i = end - leastTokens; i < end; i++) hash = Math.imul(hash ^ this.#tokens[i]!, 0x9e3779b1);
    return hash;
  }
}
