/**
 * Chooses the next token of one sequence from the model's logits. The chain is llama.cpp's default order:
 *
 *   logit_bias → penalties → DRY → top_n_sigma → top_k → typical_p → top_p → min_p → XTC → temperature → draw
 *
 * See penalties.ts, dry.ts and candidates.ts for the definitions. Temperature T divides the logits that are left; the
 * draw takes token i with probability exp(logit_i / T) / Σ exp(logit_j / T). At T = 0 the token with the greatest
 * logit after DRY is taken (ties: the lowest id), whatever follows in the chain. Mirostat takes the place of
 * everything from top_n_sigma to XTC; see mirostat.ts. A constraint masks tokens before the chain begins.
 */
import { StowageError } from "../../errors.ts";
import { LogitBias } from "./bias.ts";
import { Candidates } from "./candidates.ts";
import type { Constraint } from "./constraint.ts";
import { Draw } from "./draw.ts";
import { Dry, type DryBreakers, driesRepeats } from "./dry.ts";
import { Logprobs, type TokenLogprob } from "./logprobs.ts";
import { Mirostat } from "./mirostat.ts";
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

/** What a sampler may need beside its parameters. */
export interface SamplerParts {
  /** Which tokens may come next at all. */
  readonly constraint?: Constraint | undefined;
  /** The sequence breakers of DRY as tokens; by default there are none. */
  readonly breakers?: DryBreakers | undefined;
}

/** What changes logits, in place. */
interface Adjustment {
  apply(logits: Float32Array): void;
}

/** The sampling state of one sequence: its random source, its recent tokens, and its working memory. */
export class Sampler {
  readonly #vocabSize: number;
  readonly #constraint: Constraint | undefined;
  readonly #penalties: Penalties | undefined;
  readonly #dry: Dry | undefined;
  /** In the order of the chain. */
  readonly #adjustments: readonly Adjustment[];
  readonly #adjusted: Float32Array;
  readonly #choice: { next(logits: Float32Array): number } | undefined;
  readonly #logprobs: Logprobs | undefined;

  /**
   * Allocates all working memory: nothing for greedy, 8 bytes a token of the vocabulary with anything that changes
   * logits, 16 with neither top_k nor greedy.
   * @throws StowageError sampling_param when `logitBias` names a token that the vocabulary has not
   */
  constructor(params: ResolvedSampling, vocabSize: number, parts: SamplerParts = {}) {
    const { constraint, breakers = new Map() } = parts;
    this.#vocabSize = vocabSize;
    this.#constraint = constraint;
    if (penalises(params)) this.#penalties = new Penalties(params, vocabSize);
    if (driesRepeats(params)) this.#dry = new Dry(params, breakers);
    this.#adjustments = [
      Object.keys(params.logitBias).length > 0 && new LogitBias(params.logitBias, vocabSize),
      constraint && { apply: (logits: Float32Array) => constraint.mask(logits) },
      this.#penalties,
      this.#dry,
    ].filter((adjustment) => typeof adjustment === "object");
    this.#adjusted = new Float32Array(this.#adjustments.length > 0 ? vocabSize : 0);
    if (params.temperature > 0) {
      const random = Xoshiro128.fromSeed(params.seed);
      this.#choice =
        params.mirostat === 0
          ? new Truncated(params, vocabSize, random)
          : new Mirostat(params, vocabSize, random);
    }
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
    const scores = this.#adjust(logits);
    const token = this.#choice?.next(scores) ?? argmax(scores);
    if (this.#logprobs === undefined) return { token };
    return { token, ...this.#logprobs.report(logits, token) };
  }

  /** Tells it the tokens of the prompt, before its first token is chosen. */
  begin(prompt: Iterable<number>): void {
    if (this.#penalties || this.#dry) for (const token of prompt) this.#see(token);
  }

  /** Tells it the next token of the output. */
  accept(token: number): void {
    this.#constraint?.accept(token);
    this.#see(token);
  }

  #see(token: number): void {
    this.#penalties?.accept(token);
    this.#dry?.accept(token);
  }

  #adjust(logits: Float32Array): Float32Array {
    if (this.#adjustments.length === 0) return logits;
    this.#adjusted.set(logits);
    for (const adjustment of this.#adjustments) adjustment.apply(this.#adjusted);
    return this.#adjusted;
  }
}

/** Truncation, temperature and the random choice. */
class Truncated {
  readonly #candidates: Candidates;
  readonly #draw: Draw;

  constructor(params: ResolvedSampling, vocabSize: number, random: Xoshiro128) {
    this.#candidates = new Candidates(params, vocabSize, random);
    this.#draw = new Draw(params.temperature, random, this.#candidates.tokens.length);
  }

  next(logits: Float32Array): number {
    const candidates = this.#candidates;
    candidates.select(logits);
    return candidates.tokens[this.#draw.next(candidates.scores, candidates.count, candidates.best)]!;
  }
}
