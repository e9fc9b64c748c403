import { availableParallelism } from "node:os";
import { StowageError } from "../errors.ts";
import { ExpertCache } from "../experts/cache.ts";
import { allRecordBytes, type ExpertLayout } from "../experts/layout.ts";
import { openExpertStore } from "../experts/open.ts";
import {
  defaultPolicy,
  type PolicyName,
  type PrefetchName,
  policyPair,
} from "../experts/policies/policies.ts";
import type { PolicyShape } from "../experts/policies/policy.ts";
import { prepare } from "../experts/prepare.ts";
import { ExpertSlots, slotCounts } from "../experts/slots.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { planExpertRecords } from "../model/expert-records.ts";
import type { Family } from "../model/family.ts";
import { planWeights, type WeightLayout } from "../model/layout.ts";
import type { ExpertSlotPlan } from "./memory-plan.ts";

/** How the experts of a mixture-of-experts model are kept. */
export interface ExpertOptions {
  /** Bytes that experts may take, or their share of all experts, such as "50%". Default: all are in memory. */
  readonly expertMemory?: number | string;
  /** Which expert leaves when another needs its place, and what is read before it is asked for. Default `composite`. */
  readonly expertPolicy?: PolicyName;
  /** What is read before it is asked for, in the place of the policy's own choice. */
  readonly expertPrefetch?: PrefetchName;
  /**
   * What happens when there is no prepared file of the experts: it is made, which takes as much room as the experts
   * and some time once (`auto`), or experts are read from the model's own file, slower. Default `auto`.
   */
  readonly prepare?: "auto" | "never";
  /** Told how preparing goes, bytes; and why experts are not read as fast as they could be. */
  readonly onPrepare?: (written: number, total: number) => void;
  readonly onHint?: (hint: StowageError) => void;
}

/** Where the weights go, and the experts among them. */
export interface ExpertPlan {
  readonly layout: WeightLayout;
  /** Undefined when all experts are in memory with the other weights. */
  readonly slots?: {
    readonly records: ExpertLayout;
    /** Experts of a token in a layer. */
    readonly used: number;
    /** Slots of each class. */
    readonly counts: readonly number[];
    readonly plan: ExpertSlotPlan;
  };
}

/** Plans where the experts of one model go, for one budget or for many. */
export class ExpertPlanner {
  /** Everything in memory. */
  readonly resident: WeightLayout;
  readonly #records: ExpertLayout | undefined;
  readonly #planApart: () => WeightLayout;
  #apart: WeightLayout | undefined;

  /** @throws StowageError model_* */
  constructor(file: GgufFile, family: Family, backend: Backend) {
    this.resident = planWeights(file, family, backend);
    this.#records = planExpertRecords(this.resident);
    this.#planApart = () => planWeights(file, family, backend, { expertsInSlots: true });
  }

  /** All experts, bytes; 0 of a dense model. */
  get allBytes(): number {
    return this.#records ? allRecordBytes(this.#records) : 0;
  }

  /**
   * A budget that holds all experts is none: they stay with the other weights.
   * @throws StowageError load_option, expert_memory
   */
  plan(expertMemory: ExpertOptions["expertMemory"]): ExpertPlan {
    const { resident } = this;
    const records = this.#records;
    if (expertMemory === undefined || !records) return { layout: resident };
    const budget = budgetOf(expertMemory, this.allBytes);
    if (budget >= this.allBytes) return { layout: resident };
    const used = resident.hyperparameters.expertsUsed;
    const counts = slotCounts(records, budget, used);
    const bytes = counts.reduce((sum, count, index) => sum + count * records.classes[index]!.recordBytes, 0);
    const plan = { bytes, slots: counts.reduce((sum, count) => sum + count, 0) };
    this.#apart ??= this.#planApart();
    return { layout: this.#apart, slots: { records, used, counts, plan } };
  }
}

/**
 * Opens the store of a model's experts and takes the memory of their slots. Nothing is held when it throws.
 * @throws StowageError expert_*, prepared_file_*, prepare_*, native_call_failed
 */
export async function openExperts(
  file: GgufFile,
  { records, used, counts }: NonNullable<ExpertPlan["slots"]>,
  backend: Backend,
  options: ExpertOptions & { readonly signal?: AbortSignal },
): Promise<ExpertCache> {
  const { onHint } = options;
  const open = () =>
    openExpertStore(file, records, backend, { onBuffered: (reason: StowageError) => onHint?.(reason) });
  let opened = await open();
  if (opened.fallback && options.prepare !== "never") {
    await opened.store.close();
    const { signal, onPrepare } = options;
    await prepare(file, records, backend, {
      ...(signal === undefined ? {} : { signal }),
      ...(onPrepare === undefined ? {} : { progress: onPrepare }),
    });
    opened = await open();
  }
  const { store, fallback } = opened;
  if (fallback) onHint?.(fallback);
  try {
    const slots = new ExpertSlots(backend, records, counts);
    const shape = policyShape(records, counts, used);
    const policy = policyPair(options.expertPolicy ?? defaultPolicy, shape, options.expertPrefetch);
    return new ExpertCache(store, slots, policy, { readsInFlight: readsInFlight() });
  } catch (error) {
    await store.close();
    throw error;
  }
}

function policyShape(records: ExpertLayout, counts: readonly number[], used: number): PolicyShape {
  const layers = records.layerClass.filter((index) => index !== null).length;
  return { layers, experts: records.experts, used, slots: counts.reduce((sum, count) => sum + count, 0) };
}

/** Reads run on libuv's threads, of which the computation needs one, and files of the process another. */
function readsInFlight(): number {
  const threads = Number(process.env.UV_THREADPOOL_SIZE) || 4;
  return Math.max(1, Math.min(threads - 2, 4 * availableParallelism()));
}

/** @param all bytes of all experts */
function budgetOf(expertMemory: number | string, all: number): number {
  const percent = typeof expertMemory === "string" ? /^(\d+(?:\.\d+)?)%$/.exec(expertMemory) : null;
  const bytes = percent ? (Number(percent[1]) / 100) * all : expertMemory;
  if (typeof bytes === "number" && Number.isFinite(bytes) && bytes >= 0) return Math.floor(bytes);
  const range = 'a number of bytes, or a share of all experts such as "50%"';
  throw new StowageError("load_option", { option: "expertMemory", value: expertMemory, range });
}
