/**
 * Repetition penalties over the last N tokens, as in llama.cpp. For a token that occurs c > 0 times among them:
 *
 *   logit ← logit / repeatPenalty if logit > 0, else logit · repeatPenalty
 *   logit ← logit - c · frequencyPenalty - presencePenalty
 */
import type { ResolvedSampling } from "./params.ts";

/** Whether `params` penalise anything. */
export function penalises(params: ResolvedSampling): boolean {
  const { penaltyLastN, repeatPenalty, frequencyPenalty, presencePenalty } = params;
  return penaltyLastN > 0 && (repeatPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0);
}

/** The recent tokens of one sequence, and the logits as they are after the penalties. */
export class Penalties {
  readonly #repeat: number;
  readonly #frequency: number;
  readonly #presence: number;
  /** Ring of the last tokens; the next one goes to `#next`. */
  readonly #recent: Int32Array;
  #length = 0;
  #next = 0;
  /** How often each token of the vocabulary is in the ring. */
  readonly #counts: Int32Array;
  readonly #penalised: Float32Array;

  constructor(params: ResolvedSampling, vocabSize: number) {
    this.#repeat = params.repeatPenalty;
    this.#frequency = params.frequencyPenalty;
    this.#presence = params.presencePenalty;
    this.#recent = new Int32Array(params.penaltyLastN);
    this.#counts = new Int32Array(vocabSize);
    this.#penalised = new Float32Array(vocabSize);
  }

  /** Counts `token`, and forgets the one that is now too long ago. */
  accept(token: number): void {
    if (this.#length === this.#recent.length) this.#counts[this.#recent[this.#next]!]! -= 1;
    else this.#length++;
    this.#recent[this.#next] = token;
    this.#counts[token]! += 1;
    this.#next = (this.#next + 1) % this.#recent.length;
  }

  /** The penalised copy of `logits`; valid until the next call. `logits` stays as it is. */
  apply(logits: Float32Array): Float32Array {
    const penalised = this.#penalised;
    penalised.set(logits);
    for (let i = 0; i < this.#length; i++) {
      const token = this.#recent[i]!;
      // Computed from the untouched logit, so a token that is in the ring twice gets the same value twice.
      const logit = logits[token]!;
      const scaled = logit > 0 ? logit / this.#repeat : logit * this.#repeat;
      penalised[token] = scaled - this.#counts[token]! * this.#frequency - this.#presence;
    }
    return penalised;
  }
}
