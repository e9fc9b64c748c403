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

/** The recent tokens of one sequence, and what they cost. */
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

  constructor(params: ResolvedSampling, vocabSize: number) {
    this.#repeat = params.repeatPenalty;
    this.#frequency = params.frequencyPenalty;
    this.#presence = params.presencePenalty;
    this.#recent = new Int32Array(params.penaltyLastN);
    this.#counts = new Int32Array(vocabSize);
  }

  /** Counts `token`, and forgets the one that is now too long ago. */
  accept(token: number): void {
    if (this.#length === this.#recent.length) this.#counts[this.#recent[this.#next]!]! -= 1;
    else this.#length++;
    this.#recent[this.#next] = token;
    this.#counts[token]! += 1;
    this.#next = (this.#next + 1) % this.#recent.length;
  }

  /** Penalises `logits` in place. */
  apply(logits: Float32Array): void {
    const counts = this.#counts;
    for (let i = 0; i < this.#length; i++) {
      const token = this.#recent[i]!;
      const count = counts[token]!;
      if (count < 0) continue;
      const logit = logits[token]!;
      const scaled = logit > 0 ? logit / this.#repeat : logit * this.#repeat;
      logits[token] = scaled - count * this.#frequency - this.#presence;
      // It is done, however often it is in the ring.
      counts[token] = -count;
    }
    for (let i = 0; i < this.#length; i++) {
      const token = this.#recent[i]!;
      counts[token] = Math.abs(counts[token]!);
    }
  }
}
