import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { errorOf } from "../engine/process/faults.ts";
import { Link } from "../engine/process/link.ts";
import {
  type EngineStats,
  type FromEngine,
  fromEngine,
  type ModelInput,
  protocolVersion,
  type ReadyMessage,
  type ResidencyMessage,
  type SequenceNews,
  type ToEngine,
  type WireForm,
  type WireLogprob,
  type WireSampling,
} from "../engine/process/messages.ts";
import { StowageError } from "../errors.ts";
import type { AdapterChoice } from "../model/lora/adapters.ts";
import type { ModelSettings } from "./options.ts";

/** A process that says nothing for so long after its start will not. */
const helloWithinMs = 30_000;
/** How long an engine may take to give its memory back. */
const stopWithinMs = 10_000;
/** Of what the process wrote to stderr, the end is kept, characters. */
const keptStderr = 2000;
/** Young generation of the process, MB: little is allocated a token. */
const semiSpace = "--max-semi-space-size=4";

export interface GenerateCall {
  readonly input: ModelInput;
  readonly maxTokens?: number;
  readonly ignoreEnd?: boolean;
  /** Of the model's adapters, those to compute with. Default: none. */
  readonly lora?: readonly AdapterChoice[];
  readonly sampling: WireSampling;
  readonly form?: WireForm;
}

export interface EmbedCall {
  readonly input: ModelInput;
  readonly dimensions?: number;
}

export type EmbeddingMessage = Extract<FromEngine, { type: "embedding" }>;

export type Finish = Extract<SequenceNews, { type: "finished" }>;

/** Hears how a generation goes; `finished` or `failed` comes last, and always. */
export interface GenerationListener {
  /** It is in the queue. */
  accepted(promptTokens: number, toolFormat?: string): void;
  started(cachedTokens: number): void;
  token(text: string, chosen: WireLogprob | undefined, top: readonly WireLogprob[] | undefined): void;
  finished(finish: Finish): void;
  failed(error: StowageError): void;
}

/** A generation under way. */
export interface GenerationHandle {
  cancel(): void;
  pause(): void;
  resume(): void;
}

/** Somebody who waits for the answer to one message. */
interface Pending {
  resolve(message: FromEngine): void;
  reject(error: StowageError): void;
  /** After `accepted`. */
  readonly listener?: GenerationListener;
}

export interface LoadListener {
  /** The model's plan, bytes; loading goes on when it resolves and ends as it rejects. */
  planned(bytes: number): Promise<void>;
  preparing?(done: number, total: number): void;
}

/**
 * One engine in a process of its own. Whatever ends it (a kill, an abort in native code, a message that makes no sense),
 * everybody who waits for it is told, and nobody else is touched.
 */
export class EngineProcess {
  readonly pid: number;
  /** Why it ended. Settles always, after everybody who waited was told. */
  readonly exited: Promise<string>;
  /** The newest that it told of itself. */
  stats: EngineStats | undefined;
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #link: Link<FromEngine, ToEngine>;
  readonly #pending = new Map<number, Pending>();
  readonly #generations = new Map<number, GenerationListener>();
  #hello: ((error?: StowageError) => void) | undefined;
  #load:
    | { listener: LoadListener; resolve(ready: ReadyMessage): void; reject(error: StowageError): void }
    | undefined;
  #malformed: StowageError | undefined;
  #stderr = "";
  #nextId = 1;
  #gone = false;

  /**
   * Starts a process; it holds no model yet.
   * @param name the model's, for errors
   * @param script another program that speaks the protocol, for tests of what a faulty one does
   * @throws StowageError engine_start
   */
  static async start(name: string, script = engineScript()): Promise<EngineProcess> {
    const child = spawn(process.execPath, [semiSpace, script], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    // `error` comes where there is no process, and then no exit.
    const spawned = await new Promise<Error | undefined>((resolve) => {
      child.once("spawn", () => resolve(undefined));
      child.once("error", resolve);
    });
    if (spawned) throw new StowageError("engine_start", { model: name, reason: spawned.message });
    const engine = new EngineProcess(name, child);
    try {
      await engine.#greeted();
      return engine;
    } catch (error) {
      engine.kill();
      throw error;
    }
  }

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    this.pid = child.pid!;
    child.stderr!.setEncoding("utf8");
    child.stderr!.on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-keptStderr);
    });
    child.on("error", () => {});
    this.#link = new Link<FromEngine, ToEngine>(child.stdio[3] as Duplex, fromEngine, {
      message: (message) => this.#handle(message),
      malformed: (error) => {
        this.#malformed = error;
        this.kill();
      },
      // A process that closed its end is of no use any more.
      closed: () => this.kill(),
    });
    this.exited = new Promise((resolve) => {
      child.once("close", (code, signal) => resolve(this.#end(code, signal)));
    });
  }

  /** Requests that it works on. */
  get generations(): number {
    return this.#generations.size;
  }

  /** @throws StowageError those of `loadEngine` and of `planned`; engine_start when the process ends */
  load(path: string, settings: Partial<ModelSettings>, listener: LoadListener): Promise<ReadyMessage> {
    const { contextTokens, maxSequences, kvTokens, stepTokens, threads, speculate } = settings;
    const { cacheTypeK, cacheTypeV, expertMemory, expertPolicy, expertPrefetch, prepare, pooling } = settings;
    const { lora, device, deviceLayers, regroupExperts, recordRouting } = settings;
    const given = {
      ...{ contextTokens, maxSequences, kvTokens, stepTokens, threads, speculate, device, deviceLayers },
      ...{
        cacheTypeK,
        cacheTypeV,
        expertMemory,
        expertPolicy,
        expertPrefetch,
        regroupExperts,
        prepare,
        pooling,
        lora,
        recordRouting,
      },
    };
    return new Promise((resolve, reject) => {
      this.#load = { listener, resolve, reject };
      // JSON leaves out what is undefined.
      this.#send({ type: "load", path, settings: given as object });
    });
  }

  /**
   * Queues a generation. Resolves when the engine has taken it; from then on `listener` is told how it goes.
   * @param signal aborting it before that cancels the generation; `listener` is then told that it finished
   * @throws StowageError request_*, token_invalid, sampling_param, text_*, template_*, chat_*, engine_lost
   */
  async generate(
    call: GenerateCall,
    listener: GenerationListener,
    signal?: AbortSignal,
  ): Promise<GenerationHandle> {
    const id = this.#nextId++;
    const handle = {
      cancel: () => this.#send({ type: "cancel", id }),
      pause: () => this.#send({ type: "pause", id }),
      resume: () => this.#send({ type: "resume", id }),
    };
    const answered = this.#ask(id, { type: "generate", id, ...call }, listener);
    signal?.addEventListener("abort", handle.cancel);
    if (signal?.aborted) handle.cancel();
    try {
      await answered;
      return handle;
    } finally {
      signal?.removeEventListener("abort", handle.cancel);
    }
  }

  /**
   * @param signal aborting it cancels the embedding, which then fails with request_cancelled
   * @throws StowageError request_*, embedding_*, token_invalid, text_*, engine_lost
   */
  async embed(call: EmbedCall, signal: AbortSignal): Promise<EmbeddingMessage> {
    const id = this.#nextId++;
    const cancel = () => this.#send({ type: "cancel", id });
    const answered = this.#ask(id, { type: "embed", id, ...call });
    signal.addEventListener("abort", cancel);
    if (signal.aborted) cancel();
    try {
      return (await answered) as EmbeddingMessage;
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  /** @throws StowageError text_*, template_*, chat_*, engine_lost */
  async tokenize(input: ModelInput, addSpecial: boolean): Promise<number[]> {
    const id = this.#nextId++;
    const message = await this.#ask(id, { type: "tokenize", id, input, addSpecial });
    return (message as Extract<FromEngine, { type: "tokens" }>).tokens;
  }

  /** @throws StowageError token_invalid, engine_lost */
  async detokenize(tokens: number[]): Promise<string> {
    const id = this.#nextId++;
    const message = await this.#ask(id, { type: "detokenize", id, tokens });
    return (message as Extract<FromEngine, { type: "text" }>).text;
  }

  /** What lies where of its experts. @throws StowageError experts_unmapped, engine_lost */
  async residency(): Promise<ResidencyMessage["residency"]> {
    const id = this.#nextId++;
    const message = await this.#ask(id, { type: "residency", id });
    return (message as ResidencyMessage).residency;
  }

  /** How many of its compute threads it may use from now on. */
  useThreads(count: number): void {
    this.#send({ type: "threads", count });
  }

  /** Has it give its memory back and end; one that does not is killed. */
  async stop(): Promise<void> {
    this.#send({ type: "stop" });
    const timer = setTimeout(() => this.kill(), stopWithinMs);
    await this.exited;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #send(message: ToEngine): void {
    this.#link.send(message);
  }

  #ask(id: number, message: ToEngine, listener?: GenerationListener): Promise<FromEngine> {
    return new Promise((resolve, reject) => {
      if (this.#gone) return reject(this.#lost("it had ended before"));
      this.#pending.set(id, { resolve, reject, ...(listener && { listener }) });
      this.#send(message);
    });
  }

  #greeted(): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = () => this.#hello?.(this.#startError(`it said nothing within ${helloWithinMs / 1000} s`));
      const timer = setTimeout(late, helloWithinMs);
      this.#hello = (error) => {
        clearTimeout(timer);
        this.#hello = undefined;
        if (error) reject(error);
        else resolve();
      };
    });
  }

  #handle(message: FromEngine): void {
    switch (message.type) {
      case "hello":
        this.#greet(message.protocol);
        break;
      case "planned":
        this.#load?.listener.planned(message.memory.total).then(
          () => this.#send({ type: "admit" }),
          (error) => this.#load?.reject(error),
        );
        break;
      case "preparing":
        this.#load?.listener.preparing?.(message.done, message.total);
        break;
      case "ready":
        this.#load?.resolve(message);
        break;
      case "load_failed":
        this.#load?.reject(errorOf(message.fault));
        break;
      case "accepted":
      case "embedding":
      case "tokens":
      case "text":
      case "residency":
        this.#answered(message);
        break;
      case "events":
        for (const event of message.events) this.#tell(event);
        break;
      case "stats":
        this.stats = message;
        break;
      default:
        message satisfies never;
    }
  }

  #greet(protocol: number): void {
    const same = protocol === protocolVersion;
    this.#hello?.(
      same ? undefined : this.#startError(`it speaks version ${protocol}, not ${protocolVersion}`),
    );
  }

  #answered(message: Extract<FromEngine, { id: number }>): void {
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    this.#pending.delete(message.id);
    if (pending.listener && message.type === "accepted") {
      this.#generations.set(message.id, pending.listener);
      pending.listener.accepted(message.promptTokens, message.toolFormat);
    }
    pending.resolve(message);
  }

  #tell(event: SequenceNews): void {
    const listener = this.#generations.get(event.id);
    if (!listener) {
      this.#tellEarly(event);
      return;
    }
    switch (event.type) {
      case "started":
        listener.started(event.cachedTokens);
        break;
      case "token":
        listener.token(event.text, event.chosen, event.top);
        break;
      case "finished":
        this.#generations.delete(event.id);
        listener.finished(event);
        break;
      case "failed":
        this.#generations.delete(event.id);
        listener.failed(errorOf(event.fault));
        break;
      default:
        event satisfies never;
    }
  }

  /** A request that was refused, or cancelled before it was queued. */
  #tellEarly(event: SequenceNews): void {
    const pending = this.#pending.get(event.id);
    if (!pending) return;
    this.#pending.delete(event.id);
    if (event.type === "failed") pending.reject(errorOf(event.fault));
    else pending.reject(new StowageError("request_cancelled", {}));
  }

  #end(code: number | null, signal: string | null): string {
    this.#gone = true;
    const reason = this.#malformed?.message ?? this.#exitReason(code, signal);
    this.#hello?.(this.#startError(reason));
    this.#load?.reject(this.#startError(reason));
    for (const { reject } of this.#pending.values()) reject(this.#lost(reason));
    this.#pending.clear();
    for (const listener of this.#generations.values()) listener.failed(this.#lost(reason));
    this.#generations.clear();
    return reason;
  }

  #exitReason(code: number | null, signal: string | null): string {
    const how = signal === null ? `exit code ${code}` : signal;
    const last = this.#stderr.trim().split("\n").at(-1);
    return last ? `${how}; its last words: ${last}` : how;
  }

  #startError(reason: string): StowageError {
    return new StowageError("engine_start", { model: this.#name, reason });
  }

  #lost(reason: string): StowageError {
    return new StowageError("engine_lost", { model: this.#name, reason });
  }
}

/** Beside this file's folder: in the sources and in `dist` alike. */
function engineScript(): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return fileURLToPath(new URL(`../engine/process/main.${extension}`, import.meta.url));
}
