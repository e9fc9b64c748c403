/**
 * Chooses the next token of one sequence from the model's logits. The chain is llama.cpp's default order:
 *
 *   penalties → top_k → top_p → min_p → temperature → draw
 *
 * See penalties.ts and candidates.ts for the definitions. Temperature T divides the logits that are left; the draw
 * takes token i with probability exp(logit_i / T) / Σ exp(logit_j / T). At T = 0 the token with the greatest
 * penalised logit is taken (ties: the lowest id), which no truncating sampler ever removes, so they are skipped.
 */
import { StowageError } from "../../errors.ts";
import { Candidates } from "./candidates.ts";
import { expNegative } from "./exp.ts";
import { Logprobs, type TokenLogprob } from "./logprobs.ts";
import type { ResolvedSampling } from "./params.ts";
import { Penalties, penalises } from "./penalties.ts";
import { Xoshiro128 } from "./random.ts";
import { argmax } from "./select.ts";

/** A chosen token; `logprob` and `top` are there when the parameters ask for `logprobs` (see logprobs.ts). */
export interface SampledToken {
  token: number;
  logprob?: number;
  top?: TokenLogprob[];
}

/** The sampling state of one sequence: its random source, its recent tokens, and its working memory. */
export class Sampler {
  readonly #vocabSize: number;
  readonly #penalties: Penalties | undefined;
  readonly #draw: Draw | undefined;
  readonly #logprobs: Logprobs | undefined;

  /**
   * Allocates all working memory: nothing for greedy, 8 bytes a token of the vocabulary with penalties, 16 with
   * neither top_k nor greedy.
   */
  constructor(params: ResolvedSampling, vocabSize: number) {
    this.#vocabSize = vocabSize;
    if (penalises(params)) this.#penalties = new Penalties(params, vocabSize);
    if (params.temperature > 0) this.#draw = new Draw(params, vocabSize);
    if (params.logprobs !== undefined) this.#logprobs = new Logprobs(params.logprobs);
  }

  /**
   * Chooses a token. `logits`: one f32 per token of the vocabulary, left as they are; -Infinity masks a token.
   * Does not count the token as seen: call {@link accept} once it is part of the sequence.
   * @throws StowageError `logits_size` when there are not `vocabSize` of them, `logits_not_finite` on NaN or
   * Infinity, `logits_all_masked` when all are -Infinity.
   */
  sample(logits: Float32Array): SampledToken {
    if (logits.length !== this.#vocabSize) {
      throw new StowageError("logits_size", { found: logits.length, expected: this.#vocabSize });
    }
    const scores = this.#penalties?.apply(logits) ?? logits;
    const token = this.#draw?.next(scores) ?? argmax(scores);
    if (this.#logprobs === undefined) return { token };
    return { token, ...this.#logprobs.report(logits, token) };
  }

  /** Tells the penalties about a token of the sequence, of its prompt as well as of its output, in order. */
  accept(token: number): void {
    this.#penalties?.accept(token);
  }
}

/** Truncation, temperature and the random choice. */
class Draw {
  readonly #temperature: number;
  readonly #random: Xoshiro128;
  readonly #candidates: Candidates;
  readonly #weights: Float64Array;

  constructor(params: ResolvedSampling, vocabSize: number) {
    this.#temperature = params.temperature;
    this.#random = Xoshiro128.fromSeed(params.seed);
    this.#candidates = new Candidates(params, vocabSize);
    this.#weights = new Float64Array(this.#candidates.tokens.length);
  }

  next(scores: Float32Array): number {
    const candidates = this.#candidates;
    candidates.select(scores);
    let total = 0;
    for (let i = 0; i < candidates.count; i++) {
      const weight = expNegative((candidates.best - candidates.scores[i]!) / this.#temperature);
      this.#weights[i] = weight;
      total += weight;
    }

    const target = this.#random.nextUnit() * total;
    let chosen = 0;
    let sum = this.#weights[0]!;
    while (sum <= target && chosen < candidates.count - 1) sum += this.#weights[++chosen]!;
    return candidates.tokens[chosen]!;
  }
}
