import type { StowageError } from "../errors.ts";
import type {
  EmbedCall,
  EmbeddingMessage,
  EngineProcess,
  GenerateCall,
  GenerationHandle,
  GenerationListener,
} from "./engine-process.ts";
import type { Outcome, SequenceClock, Telemetry } from "./telemetry.ts";

export type Phase = "loading" | "queued" | "prefill" | "decode" | "stalled";

/** Hears what one choice of a request says; that it left the queue is the request's own business. */
export type ChoiceListener = Omit<GenerationListener, "started">;

/** A choice that has not ended. */
interface Choice {
  handle: GenerationHandle | undefined;
  readonly clock: SequenceClock;
  readonly listener: ChoiceListener;
}

/** A request that holds its model until it is closed. Its choices run side by side. */
export class LiveRequest {
  readonly id: string;
  readonly model: string;
  readonly endpoint: string;
  readonly stream: boolean;
  /** Unix ms. */
  readonly startedAt = Date.now();
  promptTokens: number | null = null;
  generatedTokens = 0;
  readonly #abort = new AbortController();
  readonly #choices = new Set<Choice>();
  readonly #telemetry: Telemetry;
  readonly #ended: (outcome: Outcome) => void;
  readonly #whenClosed: (() => void)[] = [];
  #engine: EngineProcess | undefined;
  #phase: Phase = "loading";
  #paused = false;
  #outcome: Outcome = "cancelled";
  #closed = false;

  constructor(parts: {
    id: string;
    model: string;
    endpoint: string;
    stream: boolean;
    telemetry: Telemetry;
  }) {
    this.id = parts.id;
    this.model = parts.model;
    this.endpoint = parts.endpoint;
    this.stream = parts.stream;
    this.#telemetry = parts.telemetry;
    this.#ended = parts.telemetry.begin(parts.model);
  }

  get phase(): Phase {
    return this.#paused ? "stalled" : this.#phase;
  }

  /** What is to be done when it is closed; at once, where that has happened. */
  whenClosed(action: () => void): void {
    if (this.#closed) action();
    else this.#whenClosed.push(action);
  }

  /** Its model is loaded. */
  attach(engine: EngineProcess): void {
    this.#engine = engine;
    this.#phase = "queued";
  }

  /**
   * Queues one choice; resolves when the engine has taken it, and `listener` hears how it goes.
   * @throws StowageError as `EngineProcess.generate`; request_cancelled after `close`
   */
  async generate(request: GenerateCall, listener: ChoiceListener): Promise<void> {
    const clock = this.#telemetry.follow(this.model);
    const choice: Choice = { handle: undefined, clock, listener };
    this.#choices.add(choice);
    try {
      choice.handle = await this.#engine!.generate(request, this.#listenFor(choice), this.#abort.signal);
    } catch (error) {
      this.#end(choice, this.#closed ? "cancelled" : "error");
      throw error;
    }
    if (this.#paused) choice.handle.pause();
  }

  /**
   * The embedding of one text.
   * @throws StowageError as `EngineProcess.embed`
   */
  async embed(call: EmbedCall): Promise<EmbeddingMessage> {
    const clock = this.#telemetry.follow(this.model);
    this.#phase = "prefill";
    try {
      const embedding = await this.#engine!.embed(call, this.#abort.signal);
      const { promptTokens, cachedTokens } = embedding;
      clock.started(promptTokens, cachedTokens);
      this.promptTokens = (this.promptTokens ?? 0) + promptTokens;
      if (this.#outcome !== "error") this.#outcome = "stop";
      return embedding;
    } catch (error) {
      this.#outcome = this.#closed ? "cancelled" : "error";
      throw error;
    }
  }

  /**
   * The text of tokens, by the vocabulary of its model.
   * @throws StowageError token_invalid, engine_lost
   */
  detokenize(tokens: number[]): Promise<string> {
    return this.#engine!.detokenize(tokens);
  }

  /** Its reader is slow: its sequences leave the batch until `resume`. */
  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    for (const { handle, clock } of this.#choices) {
      handle?.pause();
      clock.paused();
    }
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    for (const { handle } of this.#choices) handle?.resume();
  }

  /** Ends every choice with an error that its listener hears. */
  fail(error: StowageError): void {
    for (const choice of [...this.#choices]) {
      choice.handle?.cancel();
      if (this.#end(choice, "error")) choice.listener.failed(error);
    }
    this.#outcome = "error";
  }

  /** Ends what still runs and lets the model go; to be called once the answer is given, or nobody wants it any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#choices.size > 0) this.#outcome = this.#outcome === "error" ? "error" : "cancelled";
    this.#abort.abort();
    for (const { handle } of this.#choices) handle?.cancel();
    this.#ended(this.#outcome);
    for (const action of this.#whenClosed.splice(0)) action();
  }

  #listenFor(choice: Choice): GenerationListener {
    const { clock, listener } = choice;
    let promptTokens = 0;
    return {
      accepted: (count, toolFormat) => {
        promptTokens = count;
        this.promptTokens = count;
        listener.accepted(count, toolFormat);
      },
      started: (cachedTokens) => {
        this.#phase = "prefill";
        clock.started(promptTokens, cachedTokens);
      },
      token: (text, chosen, top) => {
        if (!this.#choices.has(choice)) return;
        clock.token();
        this.#phase = "decode";
        this.generatedTokens++;
        listener.token(text, chosen, top);
      },
      finished: (finish) => {
        if (this.#end(choice, finish.reason)) listener.finished(finish);
      },
      failed: (error) => {
        if (this.#end(choice, "error")) listener.failed(error);
      },
    };
  }

  /** @returns whether it had not ended before */
  #end(choice: Choice, outcome: Outcome): boolean {
    if (!this.#choices.delete(choice)) return false;
    if (this.#outcome !== "error") this.#outcome = outcome;
    return true;
  }
}
