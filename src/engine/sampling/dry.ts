/**
 * DRY ("don't repeat yourself", p-e-w, text-generation-webui pull request 5677), as in llama.cpp. When the last n
 * tokens of the sequence have occurred before, each token that followed them then is made less likely by
 *
 *   dryMultiplier · dryBase ^ (n - dryAllowedLength), from n = dryAllowedLength on
 *
 * with the longest such n. A repetition does not reach back over a sequence breaker, and a breaker that is one token
 * is never penalised itself.
 */
import type { ResolvedSampling } from "./params.ts";

/**
 * Sequence breakers by the token that they begin with: the tokens that follow it, in order. None follow where the one
 * token has all of the breaker in it.
 */
export type DryBreakers = ReadonlyMap<number, readonly (readonly number[])[]>;

/** Whether `params` ask for it. */
export function driesRepeats({ dryMultiplier, dryPenaltyLastN }: ResolvedSampling): boolean {
  return dryMultiplier > 0 && dryPenaltyLastN !== 0;
}

/** Penalties stay below that, so that logits stay numbers. */
const maxPenalty = 1e38;

/** The tokens of one sequence, and what repeating them costs. */
export class Dry {
  readonly #multiplier: number;
  readonly #base: number;
  readonly #allowed: number;
  readonly #lastN: number;
  readonly #breakers: DryBreakers;
  #history = new Int32Array(256);
  #length = 0;
  /** Working memory: how far back from each token the end of the sequence is repeated. */
  #repeats = new Int32Array(256);
  readonly #longest = new Map<number, number>();

  constructor(params: ResolvedSampling, breakers: DryBreakers) {
    this.#multiplier = params.dryMultiplier;
    this.#base = params.dryBase;
    this.#allowed = params.dryAllowedLength;
    this.#lastN = params.dryPenaltyLastN < 0 ? Number.POSITIVE_INFINITY : params.dryPenaltyLastN;
    this.#breakers = breakers;
  }

  accept(token: number): void {
    if (this.#length === this.#history.length) this.#history = doubled(this.#history);
    this.#history[this.#length++] = token;
  }

  /** Penalises `logits` in place, in time that grows with the tokens looked at and with nothing else. */
  apply(logits: Float32Array): void {
    const window = Math.min(this.#length, this.#lastN);
    if (window <= this.#allowed) return;
    const limit = this.#tokensSinceBreaker(window);
    if (limit < this.#allowed) return;

    this.#findRepeats(window);
    this.#longest.clear();
    for (let back = 1; back < window; back++) {
      const length = Math.min(this.#repeats[back]!, limit);
      if (length < this.#allowed) continue;
      const next = this.#back(back - 1);
      if (length > (this.#longest.get(next) ?? -1)) this.#longest.set(next, length);
    }
    for (const [token, length] of this.#longest) {
      if (this.#breakers.get(token)?.some((rest) => rest.length === 0)) continue;
      logits[token]! -= Math.min(this.#multiplier * this.#base ** (length - this.#allowed), maxPenalty);
    }
  }

  /** The token that many before the last one. */
  #back(offset: number): number {
    return this.#history[this.#length - 1 - offset]!;
  }

  /** How many tokens follow the last breaker. */
  #tokensSinceBreaker(window: number): number {
    for (let back = 0; back < window; back++) {
      let longest = -1;
      for (const rest of this.#breakers.get(this.#back(back)) ?? []) {
        if (rest.length > longest && this.#follows(back, rest)) longest = rest.length;
      }
      if (longest >= 0) return back - longest;
    }
    return window;
  }

  /** Whether these tokens follow the one that is `back` before the last. */
  #follows(back: number, rest: readonly number[]): boolean {
    return rest.length <= back && rest.every((token, index) => this.#back(back - 1 - index) === token);
  }

  /**
   * Fills `#repeats` for every place but the last: how many tokens that end there equal those that end the sequence.
   * The Z algorithm (Gusfield 1997, 1.3) on the reversed window, which compares each token at most twice.
   */
  #findRepeats(window: number): void {
    while (this.#repeats.length < window) this.#repeats = doubled(this.#repeats);
    const repeats = this.#repeats;
    let left = 0;
    let right = 0;
    for (let at = 1; at < window; at++) {
      let length = at < right ? Math.min(right - at, repeats[at - left]!) : 0;
      if (at + length >= right) {
        while (at + length < window && this.#back(length) === this.#back(at + length)) length++;
        left = at;
        right = at + length;
      }
      repeats[at] = length;
    }
  }
}

function doubled(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}
