import type { LoadedModel } from "./load.ts";
import { expNegative } from "./sampling/exp.ts";
import { argmax } from "./sampling/select.ts";
import { readText, type TextPassOptions } from "./text-pass.ts";

/** How well a model expects a text, over the chunks read so far. */
export interface Perplexity {
  /** e to the mean negative log-probability of the scored tokens. */
  readonly perplexity: number;
  /** Its standard error. */
  readonly error: number;
  readonly scoredTokens: number;
  readonly chunks: number;
  /** Chunks of which all is said. */
  readonly done: number;
}

/**
 * The perplexity of a model on a text, as llama.cpp's tool has it: of each chunk, the second half is scored, so that
 * every token has at least half a chunk before it.
 * @yields the estimate after each chunk; the last is the result
 * @throws StowageError as `readText`, and logits_not_finite
 */
export async function* measurePerplexity(
  model: LoadedModel,
  text: string,
  options: TextPassOptions,
): AsyncGenerator<Perplexity> {
  const losses = new Losses();
  for await (const { chunks, done } of readText(model, text, options, (...scored) => losses.add(...scored)))
    yield { ...losses.estimate, chunks, done };
}

/** Negative log-probabilities of tokens, added up. */
export class Losses {
  #count = 0;
  #sum = 0;
  #squares = 0;

  /** @param next the token that came after the logits */
  add(logits: Float32Array, next: number): void {
    const loss = lossOf(logits, next);
    this.#count++;
    this.#sum += loss;
    this.#squares += loss * loss;
  }

  get estimate(): { perplexity: number; error: number; scoredTokens: number } {
    const mean = this.#sum / this.#count;
    const variance = Math.max(0, this.#squares / this.#count - mean * mean);
    const perplexity = Math.exp(mean);
    const error = this.#count > 1 ? perplexity * Math.sqrt(variance / (this.#count - 1)) : 0;
    return { perplexity, error, scoredTokens: this.#count };
  }
}

/** The negative log-probability of a token, nats. */
export function lossOf(logits: Float32Array, token: number): number {
  return logSumExp(logits) - logits[token]!;
}

function logSumExp(logits: Float32Array): number {
  const greatest = logits[argmax(logits)]!;
  let sum = 0;
  for (let token = 0; token < logits.length; token++) sum += expNegative(greatest - logits[token]!);
  return greatest + Math.log(sum);
}
