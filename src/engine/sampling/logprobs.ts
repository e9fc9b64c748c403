/**
 * Log-probabilities of the model's own distribution: the log-softmax of the raw logits, before penalties,
 * truncation and temperature, as OpenAI and vLLM report them. They do not depend on the sampling parameters.
 */
import { expNegative } from "./exp.ts";
import { selectTop } from "./select.ts";

/** A token and its natural log-probability. */
export interface TokenLogprob {
  token: number;
  logprob: number;
}

/** Reports log-probabilities, keeping its working memory from call to call. */
export class Logprobs {
  readonly #topN: number;
  readonly #tokens: Int32Array;
  readonly #scores: Float32Array;

  /** `topN`: how many of the most likely tokens to report, 0 to 20. */
  constructor(topN: number) {
    this.#topN = topN;
    // The most likely token is always looked up: the sums are taken relative to its logit.
    this.#tokens = new Int32Array(Math.max(topN, 1));
    this.#scores = new Float32Array(Math.max(topN, 1));
  }

  /**
   * The log-probability of `token`, and the most likely tokens, best first (ties: lower id first). Tokens at
   * -Infinity are left out of `top`.
   * @throws StowageError `logits_not_finite` on NaN or Infinity, `logits_all_masked` when all are -Infinity.
   */
  report(logits: Float32Array, token: number): { logprob: number; top: TokenLogprob[] } {
    const found = selectTop(logits, this.#tokens.length, this.#scores, this.#tokens);
    const best = this.#scores[0]!;
    let sum = 0;
    for (let i = 0; i < logits.length; i++) sum += expNegative(best - logits[i]!);
    const logSum = best + Math.log(sum);

    const top: TokenLogprob[] = [];
    for (let i = 0; i < Math.min(found, this.#topN); i++) {
      top.push({ token: this.#tokens[i]!, logprob: this.#scores[i]! - logSum });
    }
    return { logprob: logits[token]! - logSum, top };
  }
}
