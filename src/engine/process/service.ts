import { StowageError } from "../../errors.ts";
import type { Constraint } from "../../grammar/constraint.ts";
import { ChatPrompt, checkMessages } from "../../tokenizer/chat-prompt.ts";
import { type EmbeddingSequence, poolingFor, shapeVector, textTokens } from "../embedding.ts";
import type { TextForm } from "../grammars.ts";
import { type LoadedModel, loadEngine } from "../load.ts";
import type { RoutingRecord } from "../routing-recorder.ts";
import type { Sequence } from "../sequence.ts";
import { faultOf } from "./faults.ts";
import type { EngineStats, FromEngine, ModelInput, ToEngine, WireForm } from "./messages.ts";
import { newsOf, Outbox } from "./outbox.ts";

/** How often the gateway is told how the engine fares, ms; only when something changed. */
const statsEveryMs = 500;

interface Loaded {
  readonly model: LoadedModel;
  readonly chat: ChatPrompt | undefined;
}

type Message<T extends ToEngine["type"]> = Extract<ToEngine, { type: T }>;

/** One model on behalf of a gateway: does what its messages say, and reports. */
export class EngineService {
  readonly #send: (message: FromEngine) => void;
  readonly #outbox: Outbox;
  readonly #sequences = new Map<number, Sequence>();
  readonly #embeddings = new Map<number, EmbeddingSequence>();
  /** Requests that were cancelled before their sequence was made. */
  readonly #early = new Map<number, "cancel" | "pause" | "resume">();
  readonly #abort = new AbortController();
  #loading: Promise<void> | undefined;
  #loaded: Loaded | undefined;
  #admit: () => void = () => {};
  #threads: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastStats = "";
  /** Why nothing is recorded any more. */
  #recordingFailure: string | null = null;

  constructor(send: (message: FromEngine) => void) {
    this.#send = send;
    this.#outbox = new Outbox((events) => send({ type: "events", events }));
  }

  handle(message: ToEngine): void {
    switch (message.type) {
      case "load":
        this.#loading ??= this.#load(message);
        return;
      case "admit":
        this.#admit();
        return;
      case "generate":
        this.#early.set(message.id, "resume");
        this.#answer(message.id, () => this.#generate(message));
        return;
      case "embed":
        this.#early.set(message.id, "resume");
        this.#answer(message.id, () => this.#embed(message));
        return;
      case "cancel":
      case "pause":
      case "resume":
        this.#steer(message.id, message.type);
        return;
      case "tokenize":
        this.#answer(message.id, () => this.#tokenize(message));
        return;
      case "detokenize":
        this.#answer(message.id, () => this.#detokenize(message));
        return;
      case "residency":
        this.#answer(message.id, async () => this.#residency(message.id));
        return;
      case "threads":
        this.#threads = message.count;
        this.#loaded?.model.engine.useThreads(message.count);
        return;
      case "stop":
        // Whoever sent it waits for the process to end; see main.ts.
        return;
      default:
        message satisfies never;
    }
  }

  /** Ends everything and gives the memory back. */
  async dispose(): Promise<void> {
    clearInterval(this.#timer);
    this.#abort.abort();
    await this.#loading;
    await this.#loaded?.model.dispose();
    this.#loaded = undefined;
  }

  async #load({ path, settings: { recordRouting, ...settings } }: Message<"load">): Promise<void> {
    let model: LoadedModel | undefined;
    try {
      model = await loadEngine(path, {
        ...settings,
        ...(recordRouting !== undefined && { recordRouting: this.#recordInto(recordRouting) }),
        signal: this.#abort.signal,
        onPlan: (memory) => {
          this.#send({ type: "planned", memory });
          return new Promise((resolve, reject) => {
            this.#admit = resolve;
            const { signal } = this.#abort;
            if (signal.aborted) reject(signal.reason);
            signal.addEventListener("abort", () => reject(signal.reason));
          });
        },
        onPrepare: (done, total) => this.#send({ type: "preparing", done, total }),
      });
      this.#abort.signal.throwIfAborted();
      this.#loaded = { model, chat: await ChatPrompt.of(model.tokenizer) };
      if (this.#threads !== undefined) model.engine.useThreads(this.#threads);
      this.#reportReady(model);
    } catch (error) {
      await model?.dispose();
      this.#send({ type: "load_failed", fault: faultOf(error) });
    }
  }

  /** A request does not fail because nothing can be recorded. */
  #recordInto(path: string): RoutingRecord {
    const onFailure = ({ message }: StowageError) => {
      this.#recordingFailure = message;
    };
    return { path, keepEarlier: true, onFailure };
  }

  #reportReady({ engine, tokenizer, hyperparameters, plan }: LoadedModel): void {
    const { architecture, experts, expertsUsed } = hyperparameters;
    this.#send({
      type: "ready",
      architecture,
      experts,
      expertsUsed,
      contextTokens: engine.limits.contextTokens,
      maxSequences: engine.limits.maxSequences,
      vocabulary: tokenizer.vocabularySize,
      hasChatTemplate: this.#loaded!.chat !== undefined,
      memory: plan,
    });
    this.#reportStats();
    this.#timer = setInterval(() => this.#reportStats(), statsEveryMs);
    this.#timer.unref();
  }

  #reportStats(): void {
    const { model } = this.#loaded!;
    const { running, waiting, paused, freeCells } = model.engine.load;
    const { experts, recorder } = model;
    const stats: EngineStats = {
      running,
      waiting,
      paused,
      kvCells: model.plan.kvCells,
      kvCellsFree: freeCells,
      residentBytes: process.memoryUsage.rss(),
      speculation: model.engine.speculation,
      recording: recorder
        ? {
            path: recorder.path,
            tokens: recorder.tokens,
            bytes: recorder.bytes,
            failure: this.#recordingFailure,
          }
        : null,
      experts: experts
        ? {
            ...experts.metrics.total,
            eviction: experts.policy.eviction.name,
            prefetch: experts.policy.prefetch?.name ?? "none",
          }
        : null,
    };
    const text = JSON.stringify(stats);
    if (text !== this.#lastStats) this.#send({ type: "stats", ...stats });
    this.#lastStats = text;
  }

  /** Runs what answers a request; whatever it throws is that request's failure, and nobody else's. */
  async #answer(id: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#outbox.add({ type: "failed", id, fault: faultOf(error) });
    } finally {
      this.#early.delete(id);
    }
  }

  async #generate(message: Message<"generate">): Promise<void> {
    const { id, input, maxTokens, ignoreEnd, lora, sampling, form } = message;
    const { model } = this.#open();
    model.engine.checkGenerates();
    const prompt = await this.#tokensOf(input, true);
    const asked = this.#early.get(id);
    if (asked === "cancel") return this.#cancelledEarly(id, prompt.length);
    const constraint = form && constraintOf(model, form);
    const sequence = model.engine.submit({
      prompt,
      sampling,
      ...(constraint && { constraint, shown: constraint.namedTokens }),
      ...(maxTokens !== undefined && { maxTokens }),
      ...(ignoreEnd && { ignoreEnd }),
      ...(lora && { lora }),
      onStart: (cachedTokens) => this.#outbox.add({ type: "started", id, cachedTokens }),
    });
    this.#sequences.set(id, sequence);
    if (asked === "pause") sequence.pause();
    const toolFormat = form && "tools" in form ? { toolFormat: model.grammars.toolFormat.name } : {};
    this.#send({ type: "accepted", id, promptTokens: sequence.promptTokens, ...toolFormat });
    try {
      for await (const event of sequence) {
        if (event.type === "token") this.#outbox.add(newsOf(id, event, model.tokenizer));
        else {
          const { reason, text, promptTokens, cachedTokens, generatedTokens } = event;
          this.#outbox.add({
            type: "finished",
            id,
            reason,
            text,
            promptTokens,
            cachedTokens,
            generatedTokens,
          });
        }
      }
    } finally {
      this.#sequences.delete(id);
    }
  }

  async #embed({ id, input, dimensions }: Message<"embed">): Promise<void> {
    const { model } = this.#open();
    const pooling = poolingFor(undefined, model.pooling);
    const tokens =
      "text" in input ? textTokens(model.tokenizer, input.text) : await this.#tokensOf(input, true);
    if (this.#early.get(id) === "cancel") throw new StowageError("request_cancelled", {});
    const sequence = model.engine.embed({ tokens, pooling });
    this.#embeddings.set(id, sequence);
    try {
      const { vectors, promptTokens, cachedTokens } = await sequence.result;
      const shaped = shapeVector(vectors[0]!, dimensions);
      const vector = Buffer.from(shaped.buffer, shaped.byteOffset, shaped.byteLength).toString("base64");
      this.#send({ type: "embedding", id, vector, promptTokens, cachedTokens });
    } finally {
      this.#embeddings.delete(id);
    }
  }

  #cancelledEarly(id: number, promptTokens: number): void {
    const counts = { promptTokens, cachedTokens: 0, generatedTokens: 0 };
    this.#outbox.add({ type: "finished", id, reason: "cancelled", text: "", ...counts });
  }

  #steer(id: number, what: "cancel" | "pause" | "resume"): void {
    const sequence = this.#sequences.get(id);
    const embedding = this.#embeddings.get(id);
    // One that has ended meanwhile is none of its business any more.
    if (embedding && what === "cancel") embedding.cancel();
    else if (sequence) sequence[what]();
    else if (this.#early.has(id) && this.#early.get(id) !== "cancel") this.#early.set(id, what);
  }

  async #tokenize({ id, input, addSpecial }: Message<"tokenize">): Promise<void> {
    const tokens = await this.#tokensOf(input, addSpecial);
    this.#send({ type: "tokens", id, tokens: Array.from(tokens) });
  }

  async #detokenize({ id, tokens }: Message<"detokenize">): Promise<void> {
    this.#send({ type: "text", id, text: this.#open().model.tokenizer.decode(tokens) });
  }

  #residency(id: number): void {
    const { engine, experts } = this.#open().model;
    if (!experts) throw new StowageError("experts_unmapped", { model: "this model", state: "ready" });
    this.#send({ type: "residency", id, residency: experts.residency(engine.load.running > 0) });
  }

  async #tokensOf(input: ModelInput, addSpecial: boolean): Promise<ArrayLike<number>> {
    const { model, chat } = this.#open();
    if ("tokens" in input) return input.tokens;
    if ("text" in input) return model.tokenizer.encode(input.text, { addSpecial, parseSpecial: true });
    checkMessages(input.messages);
    if (!chat) throw new StowageError("chat_template_missing", {});
    return chat.encode(input.messages, input.tools);
  }

  #open(): Loaded {
    if (!this.#loaded) throw new StowageError("engine_closed", {});
    return this.#loaded;
  }
}

/** @throws StowageError grammar_*, schema_*, with the field that asked for the form */
function constraintOf({ grammars }: LoadedModel, { field, ...form }: WireForm): Constraint {
  try {
    return grammars.constraint(form as TextForm);
  } catch (error) {
    if (!(error instanceof StowageError)) throw error;
    throw new StowageError(error.code, { ...error.details, field }, { cause: error });
  }
}
