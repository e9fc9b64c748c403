import { StowageError } from "../errors.ts";
import type { KvRun } from "../kv/cache.ts";
import type { AdapterChoice, AdapterSet } from "../model/lora/adapters.ts";
import type { Tokenizer, TokenStream } from "../tokenizer/tokenizer.ts";
import { Channel } from "./channel.ts";
import { breakersOf } from "./sampling/breakers.ts";
import type { Constraint } from "./sampling/constraint.ts";
import { driesRepeats } from "./sampling/dry.ts";
import type { TokenLogprob } from "./sampling/logprobs.ts";
import { type ResolvedSampling, resolveSampling, type SamplingParams } from "./sampling/params.ts";
import { type SampledToken, Sampler } from "./sampling/sampler.ts";
import { StopMatcher } from "./sampling/stop.ts";

/** What the engine is asked for. */
export interface SequenceRequest {
  /** Token ids, at least one. */
  readonly prompt: ArrayLike<number>;
  /** Most tokens to generate; by default what is left of the context. */
  readonly maxTokens?: number;
  readonly sampling?: SamplingParams;
  /** What may come next at all; one of its own for each request. */
  readonly constraint?: Constraint;
  /** Control tokens that are part of the text. */
  readonly shown?: ReadonlySet<number>;
  /** The adapters to compute with. Default: none, the model as it is. */
  readonly lora?: readonly AdapterChoice[];
  /**
   * Tokens that are taken instead of sampled ones, as long as they last: to run a given text. Their events have no
   * `logprob`, but the most likely tokens.
   */
  readonly forced?: ArrayLike<number>;
  /** Go on past the model's end-of-generation tokens. */
  readonly ignoreEnd?: boolean;
  /** Called when it first leaves the queue. `cachedTokens`: of the prompt, those whose keys and values were there. */
  readonly onStart?: (cachedTokens: number) => void;
}

/** Why a sequence ended: an end token or a stop string, its token limit, or because it was cancelled. */
export type FinishReason = "stop" | "length" | "cancelled";

/** A piece of output. `text` may be empty: a character, or what may be a stop string, is not complete yet. */
export interface TokenEvent {
  readonly type: "token";
  readonly token: number;
  readonly text: string;
  readonly logprob?: number;
  readonly top?: readonly TokenLogprob[];
}

/** The last event of every sequence. */
export interface FinishEvent {
  readonly type: "finish";
  readonly reason: FinishReason;
  /** Text that was held back and is none of a stop string. */
  readonly text: string;
  readonly promptTokens: number;
  /** Of those, the ones whose keys and values were there already. */
  readonly cachedTokens: number;
  readonly generatedTokens: number;
}

export type SequenceEvent = TokenEvent | FinishEvent;

/** A request on its way through the engine. Its state is the engine's; its owner reads events and may cancel. */
export class Sequence implements AsyncIterable<SequenceEvent> {
  readonly id: number;
  /** ms of the engine's clock. */
  readonly arrived: number;
  /** Prompt, then what was generated. */
  readonly tokens: number[];
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly adapters: AdapterSet | undefined;
  /** KV cells; undefined while it waits. */
  run: KvRun | undefined;
  cachedTokens = 0;
  cancelled = false;
  /** Its owner cannot take more for now: it keeps its tokens, but neither a place in the batch nor KV cells. */
  paused = false;
  finished = false;
  readonly #events = new Channel<SequenceEvent>();
  readonly #ignoreEnd: boolean;
  readonly #forced: ArrayLike<number>;
  readonly #constraint: Constraint | undefined;
  readonly #tokenizer: Tokenizer;
  readonly #sampling: ResolvedSampling;
  readonly #sampler: Sampler;
  readonly #stream: TokenStream;
  readonly #stop: StopMatcher;
  readonly #onCancel: () => void;
  readonly #onResume: () => void;
  readonly #onStart: ((cachedTokens: number) => void) | undefined;
  readonly #undelivered: SampledToken[] = [];
  #started = false;

  /** @throws StowageError request_empty, request_too_long, token_invalid, sampling_param */
  constructor(parts: {
    id: number;
    arrived: number;
    request: SequenceRequest;
    adapters: AdapterSet | undefined;
    tokenizer: Tokenizer;
    vocabulary: number;
    contextTokens: number;
    onCancel: () => void;
    onResume: () => void;
  }) {
    const { request, contextTokens, vocabulary, tokenizer } = parts;
    this.id = parts.id;
    this.arrived = parts.arrived;
    this.tokens = checkPrompt(request.prompt, vocabulary, contextTokens);
    this.adapters = parts.adapters;
    this.promptTokens = this.tokens.length;
    this.maxTokens = checkMaxTokens(request.maxTokens, contextTokens - this.promptTokens);
    this.#ignoreEnd = request.ignoreEnd ?? false;
    this.#forced = checkTokens(request.forced ?? [], vocabulary);
    this.#constraint = request.constraint;
    this.#tokenizer = tokenizer;
    this.#sampling = resolveSampling(request.sampling);
    this.#sampler = new Sampler(this.#sampling, vocabulary, {
      constraint: request.constraint,
      breakers: driesRepeats(this.#sampling) ? breakersOf(tokenizer, this.#sampling) : undefined,
    });
    this.#stream = tokenizer.stream(request.shown ? { shown: request.shown } : {});
    this.#stop = new StopMatcher(this.#sampling.stop);
    this.#onCancel = parts.onCancel;
    this.#onResume = parts.onResume;
    this.#onStart = request.onStart;
    this.#sampler.begin(this.tokens);
  }

  get generatedTokens(): number {
    return this.tokens.length - this.promptTokens;
  }

  /** Tokens whose keys and values are still to be computed. */
  get pending(): number {
    return this.tokens.length - (this.run?.tokens.length ?? 0);
  }

  [Symbol.asyncIterator](): AsyncGenerator<SequenceEvent, void, undefined> {
    return this.#events[Symbol.asyncIterator]();
  }

  /** Ends the sequence within one step; its last event is a finish with reason `cancelled`. */
  cancel(): void {
    if (this.cancelled || this.finished) return;
    this.cancelled = true;
    this.#onCancel();
  }

  /**
   * Takes it out of the batch after the running step, because its reader is slow. What was computed stays as a prefix
   * while KV memory lasts, so {@link Sequence.resume} costs little or a prefill, and changes no token but by rounding.
   */
  pause(): void {
    if (!this.finished) this.paused = true;
  }

  /** Back into the queue, before those that arrived later. */
  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#onResume();
  }

  /** It has its KV cells, with so many tokens of the prompt in them. */
  begin(run: KvRun): void {
    this.run = run;
    if (this.#started) return;
    this.#started = true;
    this.cachedTokens = run.tokens.length;
    this.#onStart?.(this.cachedTokens);
  }

  /**
   * Samples the next token out of its logits. Its text is told by {@link Sequence.deliver}, at once only where a
   * stop string may end the sequence: the rest can be done while the next step runs.
   * @returns whether the sequence goes on
   */
  advance(logits: Float32Array): boolean {
    const forced = this.#forced[this.generatedTokens];
    const free = this.#sampler.sample(logits);
    const sampled = forced === undefined ? free : { token: forced, ...(free.top && { top: free.top }) };
    this.#sampler.accept(sampled.token);
    this.tokens.push(sampled.token);
    if (!this.#ignoreEnd && this.#tokenizer.isEndOfGeneration(sampled.token)) {
      this.finish("stop");
      return false;
    }
    this.#undelivered.push(sampled);
    if (this.#sampling.stop.length > 0) this.deliver();
    if (!this.finished && this.#constraint?.isComplete) this.finish("stop");
    if (!this.finished && this.generatedTokens >= this.maxTokens) this.finish("length");
    return !this.finished;
  }

  /** Tells the owner of the tokens since the last time. */
  deliver(): void {
    for (const sampled of this.#undelivered.splice(0)) {
      const { emit, stopped } = this.#stop.push(this.#stream.push(sampled.token));
      this.#events.push(tokenEvent(sampled, emit));
      if (stopped !== undefined) this.finish("stop");
    }
  }

  finish(reason: FinishReason): void {
    if (this.finished) return;
    this.deliver();
    this.finished = true;
    const held = this.#stop.stopped === undefined ? this.#stop.push(this.#stream.flush()).emit : "";
    const text = held + this.#stop.flush();
    this.#events.push({
      type: "finish",
      reason: this.#stop.stopped === undefined ? reason : "stop",
      text,
      promptTokens: this.promptTokens,
      cachedTokens: this.cachedTokens,
      generatedTokens: this.generatedTokens,
    });
    this.#events.end();
  }

  /** Ends the sequence with an error that its reader is thrown. */
  fail(error: unknown): void {
    this.finished = true;
    this.#events.end(error);
  }
}

function tokenEvent(sampled: SampledToken, text: string): TokenEvent {
  return { type: "token", text, ...sampled };
}

function checkPrompt(prompt: ArrayLike<number>, vocabulary: number, contextTokens: number): number[] {
  if (prompt.length === 0) throw new StowageError("request_empty", {});
  if (prompt.length >= contextTokens) {
    throw new StowageError("request_too_long", { tokens: prompt.length, limit: contextTokens });
  }
  return checkTokens(prompt, vocabulary);
}

/** @throws StowageError token_invalid */
export function checkTokens(tokens: ArrayLike<number>, vocabulary: number): number[] {
  return Array.from(tokens, (token) => {
    if (Number.isInteger(token) && token >= 0 && token < vocabulary) return token;
    throw new StowageError("token_invalid", { token, limit: vocabulary });
  });
}

function checkMaxTokens(maxTokens: number | undefined, room: number): number {
  if (maxTokens === undefined) return room;
  if (Number.isInteger(maxTokens) && maxTokens >= 1) return Math.min(maxTokens, room);
  throw new StowageError("request_max_tokens", { value: maxTokens });
}
