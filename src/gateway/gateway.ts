import { StowageError } from "../errors.ts";
import { LiveRequest } from "./live-request.ts";
import { MemoryBudget } from "./memory-budget.ts";
import type { GatewayOptions } from "./options.ts";
import { type ModelEvents, ServedModel } from "./served-model.ts";
import { Telemetry } from "./telemetry.ts";
import { ThreadShares } from "./thread-shares.ts";

/** Sequences that a model takes side by side until it has said so itself. */
const usualSequences = 8;
/** Bounds of what a client is told to wait, s. */
const retryBounds = { least: 1, most: 60 };

export interface OpenRequest {
  readonly id: string;
  readonly model: string;
  readonly endpoint: string;
  readonly stream: boolean;
  /** Choices that it will generate. */
  readonly sequences: number;
  /** In place of the model's own setting, s. */
  readonly keepAliveSeconds?: number;
}

export type Health = "ready" | "loading" | "degraded" | "draining";

/** Knows the models, their engines and the requests that run; everything below HTTP. */
export class Gateway {
  readonly telemetry: Telemetry;
  readonly budget: MemoryBudget;
  readonly #models: ReadonlyMap<string, ServedModel>;
  readonly #maxQueue: number;
  readonly #live = new Set<LiveRequest>();
  readonly #sequences = new Map<string, number>();
  readonly #shares = new ThreadShares();
  #preloading = true;
  #draining = false;
  #whenIdle: (() => void) | undefined;

  /** @param engineScript another program in the engine's place, for tests of what a faulty one does */
  constructor(options: GatewayOptions, events: ModelEvents, engineScript?: string) {
    this.budget = new MemoryBudget(options.memoryBytes);
    this.#maxQueue = options.maxQueue;
    this.#models = new Map(
      options.models.map((offered) => [
        offered.name,
        new ServedModel(offered, this.budget, events, engineScript),
      ]),
    );
    this.telemetry = new Telemetry(() => this.#models.values());
  }

  get models(): ServedModel[] {
    return [...this.#models.values()];
  }

  get live(): ReadonlySet<LiveRequest> {
    return this.#live;
  }

  /**
   * Loads the models that are to be there from the start, one after the other, as far as memory goes; one that fails says so in
   * `health`.
   */
  async preload(): Promise<void> {
    for (const model of this.#models.values()) {
      if (model.offered.preload && !this.#draining) await model.preload().catch(() => {});
    }
    this.#preloading = false;
  }

  /** What a name stands for: a model, or one with an adapter of its own behind a colon. */
  resolve(name: string): { readonly model: string; readonly adapter?: string } {
    if (this.#models.has(name)) return { model: name };
    for (const model of this.#models.keys()) {
      const adapter = this.adapters(model).find((adapter) => `${model}:${adapter}` === name);
      if (adapter !== undefined) return { model, adapter };
    }
    return { model: name };
  }

  /** The names of a model's adapters, in their order; none where there is no such model. */
  adapters(model: string): readonly string[] {
    return this.#models.get(model)?.offered.lora?.map(({ name }) => name) ?? [];
  }

  /** @throws StowageError model_not_found */
  model(name: string): ServedModel {
    const model = this.#models.get(name);
    if (model) return model;
    const offered = [...this.#models.keys()].join(", ") || "none";
    const shown = JSON.stringify(name.slice(0, 200));
    throw new StowageError("model_not_found", { model: shown, offered, field: "model" });
  }

  /**
   * Lets a request in and has its model ready; `close` it when it is done, whatever came of it.
   * @param signal aborted when nobody waits for it any more
   * @throws StowageError server_stopping, model_not_found, queue_full, and why the model cannot be loaded
   */
  async open(request: OpenRequest, signal: AbortSignal): Promise<LiveRequest> {
    const model = this.#admit(request);
    const live = new LiveRequest({ ...request, telemetry: this.telemetry });
    live.whenClosed(() => this.#closed(live, request.sequences));
    this.#live.add(live);
    this.#count(request.model, request.sequences);
    try {
      const engine = await this.#acquired(model, request.keepAliveSeconds, live, signal);
      live.attach(engine);
      live.whenClosed(this.#shares.begin(engine));
      // A client that goes away takes its request with it, whatever that is at.
      signal.addEventListener("abort", () => live.close(), { once: true });
      if (signal.aborted) throw new StowageError("request_cancelled", {});
      return live;
    } catch (error) {
      if (!signal.aborted) live.fail(error as StowageError);
      live.close();
      throw error;
    }
  }

  /** `loading`: what is to be there from the start is not all looked after yet; `degraded`: a model that was or should be there is not. */
  health(): Health {
    if (this.#draining) return "draining";
    const isMissed = ({ problem, offered, everReady }: ServedModel) =>
      problem !== undefined && (offered.preload || everReady);
    if (this.models.some(isMissed)) return "degraded";
    return this.#preloading ? "loading" : "ready";
  }

  /** Refuses new requests, waits until those that run have ended, ends what is left after `timeoutMs`, and all engines. */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    let timer: NodeJS.Timeout | undefined;
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
      timer = setTimeout(resolve, timeoutMs);
      if (this.#live.size === 0) resolve();
    });
    await idle;
    clearTimeout(timer);
    for (const live of this.#live) live.fail(new StowageError("server_stopping", {}));
    await Promise.all(this.models.map((model) => model.close()));
  }

  #admit({ model: name, sequences }: OpenRequest): ServedModel {
    try {
      if (this.#draining) throw new StowageError("server_stopping", {});
      const model = this.model(name);
      const places = model.info?.maxSequences ?? model.offered.maxSequences ?? usualSequences;
      const waiting = (this.#sequences.get(name) ?? 0) - this.#pausedSequences(name) - places;
      if (waiting + sequences > this.#maxQueue) throw this.#queueFull(name, Math.max(0, waiting), places);
      return model;
    } catch (error) {
      const { code } = error as StowageError;
      this.telemetry.refuse(code === "model_not_found" ? "" : name, code);
      throw error;
    }
  }

  /** The wait for a place is about the usual length of a request for each batch that is ahead. */
  #queueFull(model: string, waiting: number, places: number): StowageError {
    const usualMs = this.telemetry.latency().end_to_end_ms?.p50 ?? 1000;
    const seconds = Math.ceil(((waiting / places) * usualMs) / 1000);
    const retryAfter = Math.min(Math.max(seconds, retryBounds.least), retryBounds.most);
    return new StowageError("queue_full", { model, waiting, limit: this.#maxQueue, retryAfter });
  }

  async #acquired(
    model: ServedModel,
    keepAliveSeconds: number | undefined,
    live: LiveRequest,
    signal: AbortSignal,
  ) {
    const cancelled = new StowageError("request_cancelled", {});
    if (signal.aborted) throw cancelled;
    const acquiring = model.acquire();
    live.whenClosed(() => {
      acquiring.then(
        () => model.release(keepAliveSeconds),
        () => {},
      );
    });
    let onAbort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(cancelled);
      signal.addEventListener("abort", onAbort);
    });
    try {
      return await Promise.race([acquiring, aborted]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #closed(live: LiveRequest, sequences: number): void {
    this.#live.delete(live);
    this.#count(live.model, -sequences);
    if (this.#draining && this.#live.size === 0) this.#whenIdle?.();
  }

  #count(model: string, change: number): void {
    this.#sequences.set(model, (this.#sequences.get(model) ?? 0) + change);
  }

  #pausedSequences(model: string): number {
    return this.#models.get(model)?.engine?.stats?.paused ?? 0;
  }
}
