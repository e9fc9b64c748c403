import { StepRunner } from "../src/engine/step-runner.ts";
import { Backend } from "../src/ggml/backend.ts";
import { loadNative } from "../src/ggml/library.ts";
import { openGguf } from "../src/gguf/read.ts";
import { KvCache, type KvRun } from "../src/kv/cache.ts";
import { KvTensors } from "../src/kv/tensors.ts";
import type { KvTypes } from "../src/kv/types.ts";
import { kvShape } from "../src/model/attention-shape.ts";
import { familyOf } from "../src/model/families.ts";
import type { Runtime } from "../src/model/forward.ts";
import { planWeights } from "../src/model/layout.ts";
import {
  type AdapterChoice,
  type AdapterOption,
  Adapters,
  chooseAdapters,
  readAdapters,
} from "../src/model/lora/adapters.ts";
import { keyStep } from "../src/model/step.ts";
import { ModelWeights } from "../src/model/weights.ts";
import type { Scorer } from "./parity-peer.ts";

/** One sequence's part in a step of {@link OwnModel}. */
export interface OwnEntry {
  readonly run: KvRun;
  readonly tokens: readonly number[];
  /** In place of the adapters that all sequences have. */
  readonly lora?: readonly AdapterChoice[];
}

const maxTokens = 512;

/**
 * The project's own forward pass, step by step, without scheduler or sampling: on one thread, which changes no sum
 * and does not wait for a second one on a busy machine. One owner; freed by `dispose`.
 */
export class OwnModel implements Scorer {
  readonly runtime: Runtime;
  readonly #steps: StepRunner;
  readonly #cache: KvCache;
  readonly #cellsEach: number;
  readonly #lora: readonly AdapterChoice[];
  #alone: KvRun | undefined;

  /**
   * @param options.cellsEach most tokens of a sequence
   * @param options.converted whether weights are in the layout of the fast kernels, or still in the mapped file
   */
  static async load(
    path: string,
    options: {
      sequences: number;
      cellsEach: number;
      converted: boolean;
      kvTypes?: KvTypes;
      lora?: readonly AdapterOption[];
    },
  ): Promise<OwnModel> {
    const backend = new Backend(loadNative(), { threads: 1 });
    const file = await openGguf(path);
    const family = familyOf(file.metadata.string("general.architecture"));
    const layout = planWeights(file, family, backend);
    const weights = new ModelWeights(file, layout, backend);
    if (options.converted) await weights.convert(Number.POSITIVE_INFINITY);
    const cellsEach = Math.ceil(options.cellsEach / keyStep) * keyStep;
    const cells = cellsEach * (options.sequences + 1);
    const kv = new KvTensors(backend, kvShape(layout.hyperparameters, cells, options.kvTypes));
    const { lora = [] } = options;
    const adapters = new Adapters(backend, await readAdapters(lora, { file, layout }));
    const runtime = { backend, family, weights, kv, contextTokens: cellsEach, adapters };
    return new OwnModel(runtime, options.sequences, cellsEach, lora);
  }

  private constructor(
    runtime: Runtime,
    maxSequences: number,
    cellsEach: number,
    lora: readonly AdapterChoice[],
  ) {
    this.runtime = runtime;
    this.#steps = new StepRunner(runtime, { maxTokens, maxSequences });
    this.#cache = new KvCache(runtime.kv);
    this.#cellsEach = cellsEach;
    this.#lora = lora;
  }

  open(): KvRun {
    const run = this.#cache.open([], this.#cellsEach);
    if (!run) throw new Error("more sequences are open than the model was loaded for");
    return run;
  }

  close(run: KvRun): void {
    this.#cache.close(run);
  }

  /** Runs one step. @returns the logits after each entry's last token */
  async step(entries: readonly OwnEntry[]): Promise<Float32Array[]> {
    const rows: Float32Array[] = [];
    const { adapters } = this.runtime;
    await this.#steps.run(
      entries.map(({ run, tokens, lora = this.#lora }) => {
        return { run, tokens, adapters: chooseAdapters(adapters, lora) };
      }),
      () => {},
      (_, logits) => rows.push(logits.slice()),
    );
    for (const { run, tokens } of entries) run.tokens.push(...tokens);
    return rows;
  }

  begin(): void {
    this.end();
    this.#alone = this.open();
  }

  /** Gives back what {@link OwnModel.begin} took. */
  end(): void {
    if (this.#alone) this.close(this.#alone);
    this.#alone = undefined;
  }

  async next(tokens: readonly number[]): Promise<Float32Array> {
    const [logits] = await this.step([{ run: this.#alone!, tokens }]);
    return logits!;
  }

  dispose(): void {
    const { backend, weights, kv, adapters } = this.runtime;
    for (const resource of [this.#steps, adapters!, kv, weights, backend]) resource.dispose();
  }
}
