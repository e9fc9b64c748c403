import { availableParallelism } from "node:os";
import type { StowageError } from "../errors.ts";
import { ExpertCache } from "../experts/cache.ts";
import { allRecordBytes, type ExpertLayout } from "../experts/layout.ts";
import { Learnt } from "../experts/learnt.ts";
import { LossyExperts } from "../experts/lossy/lossy-experts.ts";
import type { LossyMode } from "../experts/lossy/mode.ts";
import { openExpertStore } from "../experts/open.ts";
import { OnlySome } from "../experts/policies/only-some.ts";
import type { PolicyPair } from "../experts/policies/pair.ts";
import { PathPredictor } from "../experts/policies/path-predictor.ts";
import {
  defaultPolicy,
  type PolicyName,
  type PrefetchName,
  policyPair,
} from "../experts/policies/policies.ts";
import type { ExpertId, PolicyShape } from "../experts/policies/policy.ts";
import { TellsPaths } from "../experts/policies/tells-paths.ts";
import { prepare } from "../experts/prepare.ts";
import { ExpertSlots, leastSlotBytes, slotCounts, tooSmall } from "../experts/slots.ts";
import type { ExpertStore } from "../experts/store.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { planExpertRecords } from "../model/expert-records.ts";
import type { Family } from "../model/family.ts";
import { planWeights, type WeightLayout } from "../model/layout.ts";
import { budgetOf } from "./expert-budget.ts";
import type { LossyOptions } from "./lossy-options.ts";
import type { LossyPlan } from "./lossy-plan.ts";
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
   * So many sequences decode in a step at most, those that are expected to use the same experts; with `expertMemory`, not in
   * lossy modes. Default: all that are there. See docs/offload-experts.md.
   */
  readonly regroupExperts?: number;
  /** Use low-precision copies of some experts: faster, and not the same tokens. Default: off. */
  readonly lossy?: LossyOptions;
  /**
   * What happens when there is no prepared file of the experts: it is made, which takes as much room as the experts
   * and some time once (`auto`), or experts are read from the model's own file, slower. Default `auto`.
   */
  readonly prepare?: "auto" | "never";
  /**
   * Whether policies go on with what they learnt before, kept in a file beside the model (`keep`), or begin with nothing
   * and leave nothing (`none`). Default: `keep`, but with `prepare: "never"` nothing is written.
   */
  readonly learnt?: "keep" | "none";
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
    /** Low-precision copies, with slots of their own in the same budget. */
    readonly lossy?: LossyPlan & { readonly counts: readonly number[] };
  };
}

/** Plans where the experts of one model go, for one budget or for many. */
export class ExpertPlanner {
  /** Everything in memory. */
  readonly resident: WeightLayout;
  /** Undefined for a dense model. */
  readonly records: ExpertLayout | undefined;
  readonly #planApart: () => WeightLayout;
  #apart: WeightLayout | undefined;

  /** @throws StowageError model_* */
  constructor(file: GgufFile, family: Family, backend: Backend) {
    this.resident = planWeights(file, family, backend);
    this.records = planExpertRecords(this.resident);
    this.#planApart = () => planWeights(file, family, backend, { expertsInSlots: true });
  }

  /** All experts, bytes; 0 of a dense model. */
  get allBytes(): number {
    return this.records ? allRecordBytes(this.records) : 0;
  }

  /**
   * A budget that holds all experts is none: they stay with the other weights, and nothing is lost.
   * @throws StowageError load_option, expert_memory
   */
  plan(expertMemory: ExpertOptions["expertMemory"], lossy?: LossyPlan): ExpertPlan {
    const { resident, records } = this;
    if (expertMemory === undefined || !records) return { layout: resident };
    const budget = budgetOf("expertMemory", expertMemory, this.allBytes);
    if (budget >= this.allBytes) return { layout: resident };
    const used = resident.hyperparameters.expertsUsed;
    this.#apart ??= this.#planApart();
    const layout = this.#apart;
    if (!lossy) {
      const counts = slotCounts(records, budget, used);
      return { layout, slots: { records, used, counts, plan: slotPlan([[records, counts]]) } };
    }
    const [least, leastLow] = [leastSlotBytes(records, used), leastSlotBytes(lossy.records, used)];
    const needed = least + leastLow;
    if (budget < needed) throw tooSmall(budget, { needed, experts: used, all: this.allBytes });
    const low = Math.min(Math.max(leastLow, Math.floor(lossy.lowShare * budget)), budget - least);
    const counts = slotCounts(records, budget - low, used, heldRecords(lossy.mode, "full", records));
    const lowCounts = slotCounts(lossy.records, low, used, heldRecords(lossy.mode, "low", lossy.records));
    const plan = slotPlan([
      [records, counts],
      [lossy.records, lowCounts],
    ]);
    return { layout, slots: { records, used, counts, plan, lossy: { ...lossy, counts: lowCounts } } };
  }
}

function slotPlan(all: readonly (readonly [ExpertLayout, readonly number[]])[]): ExpertSlotPlan {
  const each = all.flatMap(([{ classes }, counts]) =>
    counts.map((slots, index) => ({ slots, bytes: slots * classes[index]!.recordBytes })),
  );
  return {
    bytes: each.reduce((sum, { bytes }) => sum + bytes, 0),
    slots: each.reduce((sum, { slots }) => sum + slots, 0),
  };
}

/** Experts under a budget, and their low-precision copies where a lossy mode has some. */
export interface OpenedExperts {
  readonly cache: ExpertCache;
  readonly lossy: LossyExperts | undefined;
  /** What keeps what the policies learn; given back before the cache. */
  readonly learnt: Learnt | undefined;
  /** Learns the paths of tokens, for regrouping sequences by them. */
  readonly paths?: PathPredictor;
}

/**
 * Opens the stores of a model's experts and takes the memory of their slots. Nothing is held when it throws.
 * @throws StowageError expert_*, prepared_file_*, prepare_*, native_call_failed
 */
export async function openExperts(
  file: GgufFile,
  slots: NonNullable<ExpertPlan["slots"]>,
  backend: Backend,
  options: OpenOptions,
  embedding: PolicyShape["embedding"],
): Promise<OpenedExperts> {
  const { used, lossy } = slots;
  const { expertPolicy = defaultPolicy, expertPrefetch } = options;
  const shapeOf = ({ records, counts }: Slots) => ({ ...policyShape(records, counts, used), embedding });
  const policyOf = (of: Slots) => policyPair(expertPolicy, shapeOf(of), expertPrefetch);
  const reads = readsInFlight();
  if (!lossy) {
    const pair = policyOf(slots);
    const keep = options.learnt !== "none" && options.prepare !== "never";
    const learnt = keep ? await Learnt.of(file, slots.records, pair, shapeOf(slots)) : undefined;
    const paths = options.regroupExperts === undefined ? undefined : new PathPredictor(shapeOf(slots));
    const policy = paths ? new TellsPaths(pair, paths) : pair;
    try {
      const cache = await openCache(file, slots, backend, options, policy, reads);
      return { cache, lossy: undefined, learnt, ...(paths && { paths }) };
    } catch (error) {
      await learnt?.dispose();
      throw error;
    }
  }
  const full = aheadOf(lossy.mode, "full", slots.records);
  const low = aheadOf(lossy.mode, "low", slots.records);
  // Two queues that read ahead share what one has.
  const each = full.size > 0 && low.size > 0 ? Math.max(1, Math.floor(reads / 2)) : reads;
  const policy = new OnlySome(policyOf(slots), full);
  const cache = await openCache(file, slots, backend, options, policy, each);
  try {
    const lowPolicy =
      low.size > 0
        ? new OnlySome(policyOf(lossy), low)
        : policyPair("lru", policyShape(lossy.records, lossy.counts, used));
    const copies = await openCache(lossy.file, lossy, backend, options, lowPolicy, each);
    return { cache, lossy: new LossyExperts(lossy.mode, cache, copies), learnt: undefined };
  } catch (error) {
    await cache.dispose();
    throw error;
  }
}

/** How many records of each class a mode gives slots in a precision; undefined where any may come. */
function heldRecords(
  mode: LossyMode,
  precision: "full" | "low",
  { classes, layerClass }: ExpertLayout,
): number[] | undefined {
  const counts = classes.map(() => 0);
  for (const [layer, index] of layerClass.entries()) {
    if (index !== null) counts[index]! += mode.ahead(layer, precision).length;
  }
  return counts.some((count) => count > 0) ? counts : undefined;
}

/** What may be read ahead in a precision, as policies number experts. */
function aheadOf(
  mode: LossyMode,
  precision: "full" | "low",
  { layerClass, experts }: ExpertLayout,
): ReadonlySet<ExpertId> {
  const layers = layerClass.flatMap((index, layer) => (index === null ? [] : [layer]));
  return new Set(
    layers.flatMap((layer, number) =>
      mode.ahead(layer, precision).map((expert) => number * experts + expert),
    ),
  );
}

type OpenOptions = ExpertOptions & { readonly signal?: AbortSignal };

interface Slots {
  readonly records: ExpertLayout;
  readonly counts: readonly number[];
}

async function openCache(
  file: GgufFile,
  { records, counts }: Slots,
  backend: Backend,
  options: OpenOptions,
  policy: PolicyPair,
  reads: number,
): Promise<ExpertCache> {
  const store = await openStore(file, records, backend, options);
  try {
    const slots = new ExpertSlots(backend, records, counts);
    return new ExpertCache(store, slots, policy, { readsInFlight: reads });
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** The prepared file of a model's experts, made where there is none and it may be; else the model's own. */
async function openStore(
  file: GgufFile,
  records: ExpertLayout,
  backend: Backend,
  { onHint, onPrepare, signal, ...options }: OpenOptions,
): Promise<ExpertStore> {
  const open = () =>
    openExpertStore(file, records, backend, { onBuffered: (reason: StowageError) => onHint?.(reason) });
  let opened = await open();
  if (opened.fallback && options.prepare !== "never") {
    await opened.store.close();
    await prepare(file, records, backend, {
      ...(signal === undefined ? {} : { signal }),
      ...(onPrepare === undefined ? {} : { progress: onPrepare }),
    });
    opened = await open();
  }
  if (opened.fallback) onHint?.(opened.fallback);
  return opened.store;
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
