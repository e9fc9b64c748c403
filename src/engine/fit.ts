/** Whether a model fits into some memory, and what of it would: plans at many sizes, nothing is loaded. */
import { StowageError } from "../errors.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { cellStep } from "../kv/cache.ts";
import type { Family } from "../model/family.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import { planWeights, type WeightLayout } from "../model/layout.ts";
import type { DeviceOptions } from "./device-memory.ts";
import { ExpertPlanner } from "./expert-memory.ts";
import { deviceLayersOf, type ModelPlan, type SizeOptions, sized } from "./plan.ts";

/** What is varied. `kvTokens` is the engine's default unless it is given. */
export type FitOptions = SizeOptions & DeviceOptions & { readonly expertMemory?: number | string };

/** The most sequences that an engine is given. */
const mostSequences = 1024;
/** Budgets of experts are searched in steps of so many bytes. */
const budgetStep = 2 ** 16;

/** Plans one model at many sizes. */
export class ModelFit {
  readonly #experts: ExpertPlanner;
  readonly #planOnDevice: (options: DeviceOptions) => WeightLayout;
  #onDevice: WeightLayout | undefined;

  /** @throws StowageError model_* */
  constructor(file: GgufFile, family: Family, backend: Backend) {
    this.#experts = new ExpertPlanner(file, family, backend);
    this.#planOnDevice = (options) =>
      planWeights(file, family, backend, { deviceLayers: deviceLayersOf(options, family, file) });
  }

  get hyperparameters(): Hyperparameters {
    return this.#experts.resident.hyperparameters;
  }

  /** All experts, bytes; 0 of a dense model. */
  get expertBytes(): number {
    return this.#experts.allBytes;
  }

  /** With a device, the same of its layers each time. @throws StowageError load_option, expert_memory */
  plan(options: FitOptions): ModelPlan {
    if (options.device !== undefined) {
      this.#onDevice ??= this.#planOnDevice(options);
      return sized({ layout: this.#onDevice }, options);
    }
    return sized(this.#experts.plan(options.expertMemory), options);
  }

  /** The plan's total where every sequence has room for its whole context, bytes. */
  withFullContexts(options: FitOptions, contextTokens: number, maxSequences: number): number {
    const kvTokens = contextTokens * maxSequences;
    return this.plan({ ...options, contextTokens, maxSequences, kvTokens }).memory.total;
  }

  /** The longest context, in steps of the KV cache, that fits into `room` bytes with a full context a sequence; 0 if none. */
  longestContext(options: FitOptions, maxSequences: number, room: number): number {
    const { contextTrained } = this.hyperparameters;
    const fits = (context: number) => this.withFullContexts(options, context, maxSequences) <= room;
    if (fits(contextTrained)) return contextTrained;
    return cellStep * most(Math.floor(contextTrained / cellStep), (steps) => fits(steps * cellStep));
  }

  /** The most sequences of a full context each that fit into `room` bytes; 0 if none. */
  mostSequences(options: FitOptions, contextTokens: number, room: number): number {
    return most(mostSequences, (count) => this.withFullContexts(options, contextTokens, count) <= room);
  }

  /**
   * The most memory for experts with which the model fits into `room` bytes: undefined where not even the least budget
   * does, or there are no experts; at most {@link ModelFit.expertBytes}.
   */
  mostExpertMemory(options: FitOptions, room: number): number | undefined {
    const all = this.expertBytes;
    if (all === 0) return undefined;
    const total = (expertMemory: number) => this.#totalWith(options, expertMemory);
    if (total(all) <= room) return all;
    const steps = Math.floor(all / budgetStep);
    const least = leastOf(steps, (step) => total(step * budgetStep) < Number.POSITIVE_INFINITY);
    if (least === undefined || total(least * budgetStep) > room) return undefined;
    return budgetStep * (least + most(steps - least, (more) => total((least + more) * budgetStep) <= room));
  }

  /** Infinity where the budget is too small for a token's experts. */
  #totalWith(options: FitOptions, expertMemory: number): number {
    try {
      return this.plan({ ...options, expertMemory }).memory.total;
    } catch (error) {
      if (error instanceof StowageError && error.code === "expert_memory") return Number.POSITIVE_INFINITY;
      throw error;
    }
  }
}

/** The greatest whole number up to `high` that holds, where all below one that holds do; 0 when 1 does not. */
function most(high: number, holds: (value: number) => boolean): number {
  let yes = 0;
  let no = high + 1;
  while (no - yes > 1) {
    const middle = Math.floor((yes + no) / 2);
    if (holds(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}

/** The least whole number up to `high` that holds, where all above one that holds do. */
function leastOf(high: number, holds: (value: number) => boolean): number | undefined {
  const below = most(high, (value) => !holds(value));
  return below < high ? below + 1 : undefined;
}
