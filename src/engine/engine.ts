import { StowageError } from "../errors.ts";
import { KvCache, type KvRun } from "../kv/cache.ts";
import type { Runtime } from "../model/forward.ts";
import { type AdapterSet, chooseAdapters } from "../model/lora/adapters.ts";
import type { SchedulingPolicy } from "../scheduler/plan.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type EmbeddingRequest, EmbeddingSequence } from "./embedding.ts";
import { adaptersOf, decodes, type Planned, recordOf, type Work, withDrafts } from "./planned-step.ts";
import type { RoutingRecorder } from "./routing-recorder.ts";
import { Sequence, type SequenceRequest } from "./sequence.ts";
import { type Speculate, Speculation, type SpeculationTotals } from "./speculation.ts";
import { StepRecords } from "./step-records.ts";
import { type StepEntry, StepRunner, type StepTimes } from "./step-runner.ts";

/** Bounds of an engine's steps. */
export interface EngineLimits {
  /** Longest sequence, prompt and output together, tokens. */
  readonly contextTokens: number;
  /** Most sequences that run side by side. */
  readonly maxSequences: number;
  /** Most tokens of a step, prefill and decode together. */
  readonly stepTokens: number;
}

/** Slices in which weights are converted while nothing else is to be done: a request waits for one at most. */
const idleSliceMs = 10;

/**
 * Continuous batching on one model: sequences join and leave at any step, prompts are prefilled in chunks beside
 * the decoding of others, finished sequences leave their keys and values for later prompts that begin alike.
 */
export class Engine {
  readonly limits: EngineLimits;
  /** How long the latest steps took, for schedulers and reports. */
  readonly records = new StepRecords();
  /** When all weights are in the layout of the fast kernels, or the engine is closed. */
  readonly settled: Promise<void>;
  readonly #runtime: Runtime;
  readonly #tokenizer: Tokenizer;
  readonly #policy: SchedulingPolicy;
  readonly #cache: KvCache;
  readonly #steps: StepRunner;
  readonly #recorder: RoutingRecorder | undefined;
  readonly #speculation: Speculation;
  readonly #waiting: Work[] = [];
  readonly #running: Work[] = [];
  /** Sequences whose readers are slow: they hold nothing but their tokens. */
  readonly #paused: Work[] = [];
  /** Sequences with tokens that their owners were not told of yet. */
  readonly #undelivered: Sequence[] = [];
  #stepping: readonly Work[] = [];
  #loop: Promise<void> | undefined;
  #nextId = 1;
  #lastStepMs = 0;
  #settle: () => void = () => {};
  #closed = false;

  /** @param options.recorder told of every step's routing; the runtime has its tap */
  constructor(
    runtime: Runtime,
    tokenizer: Tokenizer,
    policy: SchedulingPolicy,
    limits: EngineLimits,
    options: { readonly recorder?: RoutingRecorder | undefined; readonly speculate?: Speculate } = {},
  ) {
    this.limits = limits;
    this.#recorder = options.recorder;
    this.#runtime = runtime;
    this.#tokenizer = tokenizer;
    this.#policy = policy;
    this.#cache = new KvCache(runtime.kv);
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#steps = new StepRunner(runtime, {
      maxTokens: limits.stepTokens,
      maxSequences: limits.maxSequences,
    });
    this.#speculation = new Speculation(options.speculate ?? "auto", (tokens) => this.#steps.isWhole(tokens));
    this.#loop = this.#work();
  }

  /** What drafts came to; see speculation.ts. */
  get speculation(): SpeculationTotals {
    return this.#speculation.totals;
  }

  /** Sequences that wait for KV memory or a place in the batch, those that run, and those whose readers are slow. */
  get load(): { waiting: number; running: number; paused: number; freeCells: number } {
    return {
      waiting: this.#waiting.length,
      running: this.#running.length,
      paused: this.#paused.length,
      freeCells: this.#cache.available,
    };
  }

  /**
   * Queues a request.
   * @throws StowageError engine_closed, model_embeds, request_empty, request_too_long, request_max_tokens,
   *   token_invalid, sampling_param, lora_unknown, lora_scale, lora_twice
   */
  submit(request: SequenceRequest): Sequence {
    if (this.#closed) throw new StowageError("engine_closed", {});
    this.checkGenerates();
    const sequence = new Sequence({
      id: this.#nextId++,
      arrived: performance.now(),
      request,
      adapters: this.#adaptersOf(request),
      tokenizer: this.#tokenizer,
      vocabulary: this.#runtime.weights.layout.vocabulary,
      contextTokens: Math.min(this.limits.contextTokens, this.#cache.total),
      onCancel: () => this.#stopIfUnwanted(),
      onResume: () => this.#resume(),
    });
    return this.#queue(sequence);
  }

  /** @throws StowageError model_embeds for a model that makes embeddings only */
  checkGenerates(): void {
    const { encoder, architecture } = this.#runtime.weights.layout.hyperparameters;
    if (encoder) throw new StowageError("model_embeds", { architecture });
  }

  /**
   * Queues a text for its embedding.
   * @throws StowageError engine_closed, request_empty, embedding_too_long, token_invalid
   */
  embed(request: EmbeddingRequest): EmbeddingSequence {
    if (this.#closed) throw new StowageError("engine_closed", {});
    const sequence = new EmbeddingSequence({
      id: this.#nextId++,
      arrived: performance.now(),
      request,
      vocabulary: this.#runtime.weights.layout.vocabulary,
      contextTokens: Math.min(this.limits.contextTokens, this.#cache.total),
      onCancel: () => this.#stopIfUnwanted(),
    });
    return this.#queue(sequence);
  }

  #queue<W extends Work>(sequence: W): W {
    this.#waiting.push(sequence);
    this.#loop ??= this.#work();
    return sequence;
  }

  #adaptersOf({ lora = [] }: SequenceRequest): AdapterSet | undefined {
    if (lora.length === 0) return undefined;
    return chooseAdapters(this.#runtime.adapters, lora);
  }

  /** Time in which graphs were computed, ms. */
  get computeMs(): number {
    return this.#runtime.backend.computeMs;
  }

  /** How many of its compute threads the following steps use, at most all: the others are another engine's. */
  useThreads(count: number): void {
    if (!this.#closed) this.#runtime.backend.useThreads(count);
  }

  /** Forgets the keys and values of finished sequences. */
  clearCache(): void {
    this.#cache.clear();
  }

  /** Cancels everything and waits for the running step to stop. The runtime stays its owner's. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const sequence of [...this.#waiting, ...this.#running, ...this.#paused]) sequence.cancel();
    await this.#loop;
    this.#sweep();
    this.#settle();
    this.#steps.dispose();
  }

  async #work(): Promise<void> {
    // A turn of the event loop, so that requests that are submitted together start together.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      while (this.#waiting.length + this.#running.length > 0) {
        this.#sweep();
        this.#admit();
        if (this.#running.length > 0) await this.#step();
        else this.#waiting.shift()?.fail(new StowageError("kv_exhausted", { cells: this.#cache.total }));
        await this.#convertBeside();
      }
      await this.#convertWhileIdle();
    } catch (error) {
      for (const sequence of this.#running) if (sequence.run) this.#cache.close(sequence.run);
      for (const sequence of [...this.#waiting.splice(0), ...this.#running.splice(0)]) sequence.fail(error);
    } finally {
      this.#stepping = [];
      this.#loop = undefined;
      if (this.#waiting.length > 0) this.#loop = this.#work();
    }
  }

  /** While weights are still used from the mapped file, converting them gets as much time as the steps. */
  async #convertBeside(): Promise<void> {
    const { weights } = this.#runtime;
    if (weights.pendingBytes === 0 || this.#closed) return;
    this.#deliver();
    await weights.convert(this.#lastStepMs);
    if (weights.pendingBytes === 0) this.#settle();
  }

  async #convertWhileIdle(): Promise<void> {
    const { weights } = this.#runtime;
    while (weights.pendingBytes > 0 && this.#waiting.length === 0 && !this.#closed) {
      await weights.convert(idleSliceMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (weights.pendingBytes === 0) this.#settle();
  }

  /** Lets go of sequences that were cancelled, and puts those aside that are paused. */
  #sweep(): void {
    for (const list of [this.#waiting, this.#running, this.#paused]) {
      for (const sequence of list.filter(({ cancelled }) => cancelled)) {
        list.splice(list.indexOf(sequence), 1);
        this.#release(sequence);
        sequence.finish("cancelled");
      }
    }
    for (const list of [this.#waiting, this.#running]) {
      for (const sequence of list.filter(({ paused }) => paused)) {
        list.splice(list.indexOf(sequence), 1);
        this.#release(sequence);
        this.#paused.push(sequence);
      }
    }
  }

  /** Puts sequences that go on back into the queue, in the order in which they once arrived. */
  #resume(): void {
    for (const sequence of this.#paused.filter(({ paused }) => !paused)) {
      this.#paused.splice(this.#paused.indexOf(sequence), 1);
      this.#waiting.push(sequence);
    }
    this.#waiting.sort((a, b) => a.id - b.id);
    if (this.#waiting.length > 0) this.#loop ??= this.#work();
  }

  /** Lets waiting sequences start, in order, as long as there is a place and KV memory. */
  #admit(): void {
    while (this.#waiting.length > 0 && this.#running.length < this.limits.maxSequences) {
      const sequence = this.#waiting[0]!;
      const prefix = this.#prefixOf(sequence);
      const run = this.#cache.open(prefix, sequence.tokens.length, adaptersOf(sequence)?.key);
      if (!run) return;
      this.#waiting.shift();
      this.#running.push(sequence);
      sequence.begin(run);
    }
  }

  /** The tokens whose keys and values may have been left by others: of encoders none, which keep nothing. */
  #prefixOf(sequence: Work): readonly number[] {
    const { encoder } = this.#runtime.weights.layout.hyperparameters;
    const reuses = sequence instanceof Sequence || sequence.reusesPrefix;
    return reuses && !encoder ? sequence.tokens : [];
  }

  async #step(): Promise<void> {
    const started = performance.now();
    const shares = this.#policy.plan(started, this.#running, { tokens: this.limits.stepTokens });
    const batch: Planned[] = [];
    for (const { id, tokens } of shares) {
      const sequence = this.#running.find((running) => running.id === id);
      if (!sequence?.run || !this.#makeRoom(sequence, tokens)) continue;
      const past = sequence.run.tokens.length;
      batch.push({
        sequence,
        entry: {
          run: sequence.run,
          tokens: sequence.tokens.slice(past, past + tokens),
          adapters: adaptersOf(sequence),
          ...(sequence instanceof EmbeddingSequence && { outputs: sequence.statesOf(tokens), states: true }),
        },
      });
    }
    const planned = batch.filter(({ sequence }) => sequence.run !== undefined);
    const settled = this.#runtime.weights.pendingBytes === 0;
    const live = settled ? withDrafts(planned, this.#speculation, this.#cache) : planned;
    if (live.length === 0) return;
    const before = live.map(({ entry }) => entry.run.tokens.length);

    this.#stepping = live.map(({ sequence }) => sequence);
    let sampleMs = 0;
    let times: StepTimes | undefined;
    try {
      times = await this.#steps.run(
        live.map(({ entry }) => entry),
        () => this.#deliver(),
        (index, outputs) => {
          const from = performance.now();
          this.#commit(live[index]!.sequence, live[index]!.entry, outputs);
          sampleMs += performance.now() - from;
        },
      );
      if (times && this.#recorder) {
        await this.#recorder.stepped(
          live.map(({ sequence, entry: { run, tokens } }, index) => ({
            request: sequence.id,
            position: before[index]!,
            tokens,
            kept: run.tokens.length - before[index]!,
            promptTokens: sequence.promptTokens,
          })),
        );
      }
    } catch (error) {
      // An expert could not be read, say: who was in the step ends with that, the others go on.
      for (const { sequence } of live) this.#fail(sequence, error);
    }
    this.#stepping = [];
    this.#lastStepMs = performance.now() - started;
    if (!times) return;
    this.records.add(recordOf(started, live, times, sampleMs));
    if (live.every(({ entry }) => decodes(entry))) this.#observe(live, before);
  }

  /** @param before tokens of each KV run before the step */
  #observe(live: readonly Planned[], before: readonly number[]): void {
    const sequences = live.flatMap(({ sequence }) => (sequence instanceof Sequence ? [sequence] : []));
    if (sequences.length < live.length) return;
    const accepted = live.map(({ entry }, index) => entry.run.tokens.length - before[index]! - 1);
    this.#speculation.observe(sequences, this.#lastStepMs, live[0]!.entry.tokens.length - 1, accepted);
  }

  /** The step's keys and values count from here on; a sequence whose prompt is complete gets its next tokens. */
  #commit(sequence: Work, entry: StepEntry, outputs: Float32Array): void {
    const { run, tokens } = entry;
    const sure = sequence instanceof Sequence ? tokens.length - (entry.outputs ?? 1) + 1 : tokens.length;
    for (const token of tokens.slice(0, sure)) run.tokens.push(token);
    if (sequence.cancelled) return;
    if (sequence instanceof EmbeddingSequence) {
      const { width } = this.#runtime.weights.layout.hyperparameters;
      if (sequence.gather(outputs, width)) this.#leave(sequence);
      return;
    }
    if (sequence.pending > 0) return;
    let goesOn = false;
    try {
      goesOn = this.#advance(sequence, run, outputs, tokens.slice(sure));
    } catch (error) {
      sequence.fail(error);
      goesOn = false;
    }
    if (goesOn) this.#undelivered.push(sequence);
    else this.#leave(sequence);
  }

  /** Takes the next token, and the one after each of a draft as long as it came to be. @returns whether it goes on */
  #advance(sequence: Sequence, run: KvRun, logits: Float32Array, draft: readonly number[]): boolean {
    const { vocabulary } = this.#runtime.weights.layout;
    for (let row = 0; ; row++) {
      if (!sequence.advance(logits.subarray(row * vocabulary, (row + 1) * vocabulary))) return false;
      if (row === draft.length || sequence.tokens.at(-1) !== draft[row]) return true;
      run.tokens.push(draft[row]!);
    }
  }

  #deliver(): void {
    for (const sequence of this.#undelivered.splice(0)) sequence.deliver();
  }

  /** Room for the next tokens, if need be at the cost of the sequence that started last. */
  #makeRoom(sequence: Work, tokens: number): boolean {
    for (;;) {
      const run = sequence.run;
      if (!run) return false;
      if (this.#cache.grow(run, run.tokens.length + tokens)) return true;
      const last = this.#running.at(-1)!;
      if (this.#running.length === 1) {
        this.#leave(sequence);
        if (sequence instanceof Sequence) sequence.finish("length");
        else sequence.fail(new StowageError("kv_exhausted", { cells: this.#cache.total }));
        return false;
      }
      this.#preempt(last);
    }
  }

  /** Back to the head of the queue; what was computed is kept as a prefix while memory lasts. */
  #preempt(sequence: Work): void {
    this.#leave(sequence);
    this.#waiting.unshift(sequence);
  }

  #fail(sequence: Work, error: unknown): void {
    if (sequence.finished) return;
    this.#leave(sequence);
    sequence.fail(error);
  }

  #leave(sequence: Work): void {
    const index = this.#running.indexOf(sequence);
    if (index >= 0) this.#running.splice(index, 1);
    this.#release(sequence);
  }

  #release(sequence: Work): void {
    if (sequence.run) this.#cache.close(sequence.run);
    sequence.run = undefined;
  }

  /** A step that only serves sequences that nobody waits for any more is stopped at its next node. */
  #stopIfUnwanted(): void {
    // Between steps, and while weights are converted, nobody has to wait for the next one.
    if (this.#stepping.length === 0) this.#sweep();
    if (this.#stepping.length > 0 && this.#stepping.every(({ cancelled }) => cancelled)) {
      this.#runtime.backend.abort();
    }
  }
}
