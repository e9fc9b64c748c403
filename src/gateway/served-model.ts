import { stat } from "node:fs/promises";
import type { ReadyMessage } from "../engine/process/messages.ts";
import { StowageError } from "../errors.ts";
import { EngineProcess } from "./engine-process.ts";
import type { MemoryBudget, MemoryHolder } from "./memory-budget.ts";
import type { OfferedModel } from "./options.ts";

export type ModelState = "unloaded" | "loading" | "ready" | "restarting" | "failed";

/** First and longest pause before an engine that ended is started again; it doubles in between. */
const backoffMs = { first: 250, longest: 30_000 };
/** An engine that lived so long had no trouble starting: the next pause is the first again. */
const healthyMs = 60_000;

/** What a model tells its gateway. */
export interface ModelEvents {
  /** Loading, ready, ended: for logs. */
  changed(model: ServedModel, detail?: string): void;
}

/** A model with its engine and ready to answer. */
interface Loaded {
  readonly engine: EngineProcess;
  readonly info: ReadyMessage;
  /** Which file it was loaded from, see {@link identityOf}. */
  readonly file: string;
  readonly since: number;
}

/**
 * A model that is offered: loads when it is wanted, is started again when its engine ends, unloads when it is not used
 * for long, when its memory is wanted, and when its file was replaced.
 */
export class ServedModel implements MemoryHolder {
  readonly offered: OfferedModel;
  /** Why it is not ready, after something went wrong. */
  problem: StowageError | undefined;
  restarts = 0;
  lastUsed = 0;
  /** Whether it was ready once. */
  everReady = false;
  readonly #budget: MemoryBudget;
  readonly #events: ModelEvents;
  readonly #engineScript: string | undefined;
  #state: ModelState = "unloaded";
  #loading: Promise<Loaded> | undefined;
  #loaded: Loaded | undefined;
  #ending: Promise<void> = Promise.resolve();
  #leases = 0;
  #attempts = 0;
  #retryAt = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  #expiryTimer: NodeJS.Timeout | undefined;
  #expiresAt: number | undefined;
  #closed = false;

  constructor(offered: OfferedModel, budget: MemoryBudget, events: ModelEvents, engineScript?: string) {
    this.offered = offered;
    this.#budget = budget;
    this.#events = events;
    this.#engineScript = engineScript;
  }

  get name(): string {
    return this.offered.name;
  }

  get state(): ModelState {
    return this.#state;
  }

  get idle(): boolean {
    return this.#state === "ready" && this.#leases === 0;
  }

  /** Requests that use it or wait for it. */
  get leases(): number {
    return this.#leases;
  }

  get engine(): EngineProcess | undefined {
    return this.#loaded?.engine;
  }

  get info(): ReadyMessage | undefined {
    return this.#loaded?.info;
  }

  /** Unix ms at which it is unloaded unless it is used before; undefined: not by time. */
  get expiresAt(): number | undefined {
    return this.#expiresAt;
  }

  /**
   * Its engine, loaded first if need be. It is not unloaded before `release` is called.
   * @throws StowageError why it cannot be loaded; engine_restarting
   */
  async acquire(): Promise<EngineProcess> {
    const first = this.#leases++ === 0;
    this.#stopExpiry();
    try {
      if (first && this.#loaded) await this.#unloadIfReplaced();
      return (await this.#ready()).engine;
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** @param keepAliveSeconds in place of the model's own setting */
  release(keepAliveSeconds = this.offered.keepAliveSeconds): void {
    this.#leases--;
    this.lastUsed = Date.now();
    if (this.#leases > 0 || !Number.isFinite(keepAliveSeconds)) return;
    const ms = Math.min(keepAliveSeconds * 1000, 2 ** 31 - 1);
    this.#expiresAt = this.lastUsed + ms;
    this.#expiryTimer = setTimeout(() => this.unload(), ms);
    this.#expiryTimer.unref();
  }

  /**
   * Loads it without a request, and not at the cost of a model that is loaded already.
   * @throws StowageError as `acquire`
   */
  async preload(): Promise<void> {
    await this.#ready({ atCost: false });
  }

  /** Gives its memory back; it loads again at the next request. Those that use it fail, so ask for `idle` first. */
  async unload(): Promise<void> {
    this.#stopExpiry();
    clearTimeout(this.#restartTimer);
    const loaded = this.#loaded;
    this.#loaded = undefined;
    if (this.#state !== "failed") this.#state = "unloaded";
    if (loaded) this.#ending = loaded.engine.stop().then(() => this.#budget.release(this));
    await this.#ending;
    if (loaded) this.#events.changed(this, "unloaded");
  }

  /** Unloads it for good, also while it loads. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.unload(), this.#loading?.catch(() => {})]);
    await this.unload();
  }

  async #ready(room = { atCost: true }): Promise<Loaded> {
    if (this.#loaded) return this.#loaded;
    if (this.#loading) return this.#loading;
    if (this.#state === "restarting") throw this.#restartingError();
    if (this.#state === "failed" && Date.now() < this.#retryAt) throw this.problem!;
    return this.#load(room);
  }

  #load(room = { atCost: true }): Promise<Loaded> {
    if (this.#closed) return Promise.reject(new StowageError("server_stopping", {}));
    this.#state = "loading";
    this.#events.changed(this);
    this.#loading = this.#loadNow(room).finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #loadNow(room: { atCost: boolean }): Promise<Loaded> {
    let engine: EngineProcess | undefined;
    try {
      await this.#ending;
      const file = await this.#identity();
      engine = await EngineProcess.start(this.name, this.#engineScript);
      const info = await engine.load(this.offered.path, this.offered, {
        planned: (bytes) => this.#budget.reserve(this, bytes, room),
      });
      if (this.#closed) throw new StowageError("server_stopping", {});
      const loaded = { engine, info, file, since: Date.now() };
      this.#loaded = loaded;
      this.#state = "ready";
      this.everReady = true;
      this.problem = undefined;
      engine.exited.then((reason) => this.#ended(loaded, reason));
      this.#events.changed(this);
      return loaded;
    } catch (error) {
      engine?.kill();
      await engine?.exited;
      this.#budget.release(this);
      throw this.#loadFailed(error);
    }
  }

  #loadFailed(error: unknown): StowageError {
    const problem =
      error instanceof StowageError
        ? error
        : new StowageError("engine_start", { model: this.name, reason: String(error) });
    if (problem.code === "model_room") {
      // Others have the memory now: that is no fault, and the next request asks again.
      this.problem = undefined;
      this.#state = "unloaded";
      this.#events.changed(this, problem.message);
      return problem;
    }
    this.problem = problem;
    // A process that ended may live next time; what it said itself about the file it will say again.
    if (problem.code === "engine_start" && !this.#closed) this.#restartLater(problem.message);
    else {
      this.#state = "failed";
      this.#retryAt = Date.now() + this.#nextPause();
      this.#events.changed(this, problem.message);
    }
    return problem;
  }

  /** The engine of a ready model is gone; if nobody asked it to go, it is started again. */
  #ended(loaded: Loaded, reason: string): void {
    if (this.#loaded !== loaded) return;
    this.#loaded = undefined;
    this.#budget.release(this);
    if (this.#closed) return;
    if (Date.now() - loaded.since > healthyMs) this.#attempts = 0;
    this.problem = new StowageError("engine_lost", { model: this.name, reason });
    this.#restartLater(reason);
  }

  #restartLater(reason: string): void {
    const pause = this.#nextPause();
    this.#state = "restarting";
    this.#retryAt = Date.now() + pause;
    this.restarts++;
    this.#events.changed(this, `${reason}; it is started again in ${(pause / 1000).toFixed(1)} s`);
    this.#restartTimer = setTimeout(() => {
      this.#load().catch(() => {});
    }, pause);
    this.#restartTimer.unref();
  }

  #nextPause(): number {
    return Math.min(backoffMs.first * 2 ** this.#attempts++, backoffMs.longest);
  }

  #restartingError(): StowageError {
    return new StowageError("engine_restarting", {
      model: this.name,
      attempt: this.restarts,
      retryAfter: Math.max(1, Math.ceil((this.#retryAt - Date.now()) / 1000)),
    });
  }

  /** A model whose file is another by now is loaded anew; one whose file is gone goes on with what it has. */
  async #unloadIfReplaced(): Promise<void> {
    const loaded = this.#loaded!;
    const now = await this.#identity().catch(() => loaded.file);
    if (now !== loaded.file && this.#loaded === loaded && loaded.engine.generations === 0)
      await this.unload();
  }

  /** Of its file and those of its adapters. */
  async #identity(): Promise<string> {
    const paths = [this.offered.path, ...(this.offered.lora ?? []).map(({ path }) => path)];
    return (await Promise.all(paths.map(identityOf))).join();
  }

  #stopExpiry(): void {
    clearTimeout(this.#expiryTimer);
    this.#expiresAt = undefined;
  }
}

/**
 * Tells a file from one that replaced it.
 * @throws StowageError gguf_unreadable
 */
async function identityOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs } = await stat(path);
    return [dev, ino, size, mtimeMs].join(":");
  } catch (error) {
    throw new StowageError("gguf_unreadable", { path, reason: (error as Error).message });
  }
}
