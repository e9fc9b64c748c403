import { GraphAllocator } from "../ggml/allocator.ts";
import type { KvRun } from "../kv/cache.ts";
import { DeviceStep } from "../model/device-step.ts";
import { isWhole, LayerwiseRunner, type Runtime, type Step, WholeStep } from "../model/forward.ts";
import type { AdapterSet } from "../model/lora/adapters.ts";
import { fillMaskRow } from "../model/mask.ts";
import { keyStep, type StepShape, sameShape, tokenCount } from "../model/step.ts";
import { mostDraftedRows } from "./speculation.ts";

/** One sequence's part in a step. Its tokens follow what its KV run holds. */
export interface StepEntry {
  readonly run: KvRun;
  readonly tokens: readonly number[];
  /** How many of the tokens give an output, the last ones. Default 1. */
  readonly outputs?: number;
  /** Outputs are final states, [width], and not logits. */
  readonly states?: boolean;
  /** What is added to the weights for it. */
  readonly adapters?: AdapterSet | undefined;
}

/** Graphs of decode steps that are kept; the sequences of a batch change rarely, their KV lengths every 256 steps. */
const keptGraphs = 2;

/** Times of one step, ms. */
export interface StepTimes {
  /** Making or finding the graph, and filling its inputs. */
  readonly prepareMs: number;
  readonly computeMs: number;
  /** Whether the graph was there already. */
  readonly reused: boolean;
}

/** A graph that is used again, and what for. */
interface KeptStep {
  readonly shape: StepShape;
  readonly step: Step;
}

/** Turns batches of tokens into logits. Decode graphs are kept by shape; a steady decode step builds none. */
export class StepRunner {
  readonly #runtime: Runtime;
  readonly #layerwise: LayerwiseRunner | undefined;
  /** Graphs of steps without drafts and with, each oldest use first. */
  readonly #kept: { readonly plain: KeptStep[]; readonly drafted: KeptStep[] } = { plain: [], drafted: [] };
  /** Working memory of graphs that are used once: taken anew for each, the system would fill it with zeros each time. */
  readonly #allocator: GraphAllocator;
  /** The same on the device, where some layers are on one. */
  readonly #deviceAllocator: GraphAllocator | undefined;
  /** Of the weights that the kept graphs read. */
  #version = 0;

  constructor(runtime: Runtime, limits: { maxTokens: number; maxSequences: number }) {
    this.#runtime = runtime;
    this.#allocator = new GraphAllocator(runtime.backend.native, runtime.backend.hostBufferType);
    const device = runtime.part?.device;
    this.#deviceAllocator = device && new GraphAllocator(device.native, device.bufferType);
    const { experts } = runtime.weights.layout.hyperparameters;
    this.#layerwise = experts > 0 ? new LayerwiseRunner(runtime, limits) : undefined;
  }

  /**
   * Runs one step. Keys and values of all tokens are written; each entry gets its outputs.
   * @param whileComputing called once the step is running: time for what need not be done before
   * @param visit called with the outputs of each entry, one after the other in one array, valid during the call only
   * @returns undefined when the step was aborted: nothing is committed, and it can be run again
   */
  async run(
    entries: readonly StepEntry[],
    whileComputing: () => void,
    visit: (entry: number, outputs: Float32Array) => void,
  ): Promise<StepTimes | undefined> {
    const started = performance.now();
    this.#runtime.backend.resume();
    const order = statesLast(entries);
    const ordered = order.map((entry) => entries[entry]!);
    const shape = shapeOf(ordered);
    const { step, reused, keep } = await this.#stepFor(shape);
    try {
      fill(step, ordered, shape, this.#runtime.weights.layout.hyperparameters.window?.tokens);
      const prepared = performance.now();
      const running = step.run();
      whileComputing();
      if (!(await running)) return undefined;
      const computed = performance.now();
      const { vocabulary, hyperparameters } = this.#runtime.weights.layout;
      const logits = { rows: step.logits(), width: vocabulary, next: 0 };
      const states = { rows: step.states(), width: hyperparameters.width, next: 0 };
      for (const [index, entry] of ordered.entries()) {
        const from = entry.states ? states : logits;
        const end = from.next + outputsOf(entry) * from.width;
        visit(order[index]!, from.rows.subarray(from.next, end));
        from.next = end;
      }
      return { prepareMs: prepared - started, computeMs: computed - prepared, reused };
    } finally {
      if (!keep) step.dispose();
    }
  }

  /** Whether a step of so many tokens runs as one graph, that can be kept. */
  isWhole(tokens: number): boolean {
    return isWhole(this.#runtime, tokens);
  }

  dispose(): void {
    this.#forget();
    this.#allocator.dispose();
    this.#deviceAllocator?.dispose();
    this.#layerwise?.dispose();
  }

  #forget(): void {
    for (const list of Object.values(this.#kept)) for (const { step } of list.splice(0)) step.dispose();
    this.#version = this.#runtime.weights.version;
  }

  async #stepFor(shape: StepShape): Promise<{ step: Step; reused: boolean; keep: boolean }> {
    if (this.#layerwise && !isWhole(this.#runtime, tokenCount(shape))) {
      const step = await this.#withDevice(shape, this.#layerwise.step(shape), false);
      return { step, reused: false, keep: false };
    }
    if (this.#version !== this.#runtime.weights.version) this.#forget();
    const decode = shape.sequences.every(({ tokens }) => tokens === 1);
    const list = decode ? this.#kept.plain : this.#kept.drafted;
    const index = list.findIndex((kept) => sameShape(kept.shape, shape));
    if (index >= 0) {
      const [kept] = list.splice(index, 1);
      list.push(kept!);
      return { step: kept!.step, reused: true, keep: true };
    }
    // Sums are placed anew in every step.
    const keep = !this.#runtime.sums && (decode || isDrafted(shape));
    const host = await WholeStep.build(this.#runtime, shape, keep ? undefined : this.#allocator);
    const step = await this.#withDevice(shape, host, keep);
    if (!keep) return { step, reused: false, keep };
    list.push({ shape, step });
    if (list.length > keptGraphs) list.shift()!.step.dispose();
    return { step, reused: false, keep: true };
  }

  /** The step with what follows on a device, where some layers are on one. */
  async #withDevice(shape: StepShape, host: Step, keep: boolean): Promise<Step> {
    const { part } = this.#runtime;
    if (!part) return host;
    try {
      const runtime = { ...this.#runtime, part };
      return await DeviceStep.build(runtime, shape, host, keep ? undefined : this.#deviceAllocator);
    } catch (error) {
      host.dispose();
      throw error;
    }
  }
}

/** Steps with drafts: logits of every token, and few of them. */
function isDrafted(shape: StepShape): boolean {
  const tokens = tokenCount(shape);
  return !shape.states && shape.outputs === tokens && tokens <= mostDraftedRows;
}

function shapeOf(entries: readonly StepEntry[]): StepShape {
  const sequences = entries.map(({ run, tokens, outputs, adapters }) => ({
    outputs,
    adapters,
    tokens: tokens.length,
    firstCell: run.first,
    keys: Math.ceil((run.tokens.length + tokens.length) / keyStep) * keyStep,
  }));
  const count = (list: readonly StepEntry[]) => list.reduce((sum, entry) => sum + outputsOf(entry), 0);
  const states = count(entries.filter((entry) => entry.states));
  return { sequences, outputs: count(entries), ...(states > 0 && { states }) };
}

function outputsOf({ outputs = 1 }: StepEntry): number {
  return outputs;
}

/** The places of the entries in a step: those that want logits first, as their outputs have to lie. */
function statesLast(entries: readonly StepEntry[]): number[] {
  const places = [...entries.keys()];
  if (!entries.some(({ states }) => states)) return places;
  return [
    ...places.filter((place) => !entries[place]!.states),
    ...places.filter((place) => entries[place]!.states),
  ];
}

function fill(
  { memory }: Step,
  entries: readonly StepEntry[],
  shape: StepShape,
  window: number | undefined,
): void {
  const { tokens, positions, cells, masks, windowMasks, outputs } = memory.fill;
  let row = 0;
  let output = 0;
  for (let index = 0; index < entries.length; index++) {
    const entry = entries[index]!;
    const past = entry.run.tokens.length;
    const { keys } = shape.sequences[index]!;
    const { keys: windowKeys } = memory.windowShape.sequences[index]!;
    const hidden = keys - windowKeys;
    for (let offset = 0; offset < entry.tokens.length; offset++) {
      const position = past + offset;
      tokens[row] = entry.tokens[offset]!;
      positions[row] = position;
      cells[row] = BigInt(entry.run.first + position);
      if (masks.length > 0) fillMaskRow(masks[index]!, offset, keys, position);
      if (windowMasks) fillMaskRow(windowMasks[index]!, offset, windowKeys, position - hidden, window);
      row++;
    }
    for (let from = row - outputsOf(entry); outputs && from < row; from++) outputs[output++] = from;
  }
}
