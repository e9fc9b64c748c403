import { StowageError } from "../errors.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { type KvTypeName, type KvTypes, kvTypesOf } from "../kv/types.ts";
import type { Family } from "../model/family.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import { planWeights } from "../model/layout.ts";
import { type AdapterOption, type NamedAdapterFile, readAdapters } from "../model/lora/adapters.ts";
import type { DeviceOptions } from "./device-memory.ts";
import type { EngineLimits } from "./engine.ts";
import type { ExpertOptions, ExpertPlan } from "./expert-memory.ts";
import { type MemoryPlan, planMemory } from "./memory-plan.ts";

/** What decides how much memory a model takes. Everything has a default that suits a laptop. */
export interface SizeOptions {
  /** Longest sequence, prompt and output together, tokens. Default: what the model was trained for, at most 4096. */
  readonly contextTokens?: number;
  /** Most sequences that run side by side. Default 8. */
  readonly maxSequences?: number;
  /** Tokens that the KV cache holds for all sequences together. Default: two full contexts, at least 512 a sequence. */
  readonly kvTokens?: number;
  /** Types of the KV cache's keys and values. Default `f16`. */
  readonly cacheTypeK?: KvTypeName;
  readonly cacheTypeV?: KvTypeName;
  /** Most tokens of one step, prefill and decode together. Default 512. */
  readonly stepTokens?: number;
}

/** What requests may have added to the weights. */
export interface AdapterOptions {
  /** LoRA adapters, in GGUF format. Default: none. */
  readonly lora?: readonly AdapterOption[];
}

/** Where everything of a model will go, before any of it is taken. */
export interface ModelPlan extends ExpertPlan {
  readonly limits: EngineLimits;
  readonly memory: MemoryPlan;
  readonly kvTypes: KvTypes;
  readonly adapters: readonly NamedAdapterFile[];
}

const defaultContext = 4096;
const defaultContexts = 2;
/** Every sequence that may run should find at least so many KV cells. */
const leastTokensASequence = 512;
const defaultSequences = 8;
const defaultStepTokens = 512;

/** What decides how much memory experts take. */
type ExpertSizeOptions = Pick<ExpertOptions, "expertMemory" | "lossy">;

/** @throws StowageError load_option, kv_type, expert_memory, lossy_budget, low_experts, model_*, lora_*, gguf_* */
export async function planModel(
  file: GgufFile,
  family: Family,
  backend: Backend,
  options: SizeOptions & DeviceOptions & AdapterOptions & ExpertSizeOptions,
): Promise<ModelPlan> {
  const { lora = [], lossy, expertMemory } = options;
  if (lossy && expertMemory === undefined) throw new StowageError("lossy_budget", { mode: lossy.mode });
  const planned =
    options.device === undefined
      ? await planWithExperts(file, family, backend, options)
      : {
          layout: planWeights(file, family, backend, { deviceLayers: deviceLayersOf(options, family, file) }),
        };
  const adapters = await readAdapters(lora, { file, layout: planned.layout });
  return sized(planned, options, adapters);
}

async function planWithExperts(
  file: GgufFile,
  family: Family,
  backend: Backend,
  { expertMemory, lossy }: ExpertSizeOptions,
): Promise<ExpertPlan> {
  // Nobody else pays for the code of expert budgets, in memory and in time to start.
  if (expertMemory === undefined) return { layout: planWeights(file, family, backend) };
  const { ExpertPlanner } = await import("./expert-memory.ts");
  const planner = new ExpertPlanner(file, family, backend);
  const { records, resident } = planner;
  if (!lossy || !records) return planner.plan(expertMemory);
  const { planLossy } = await import("./lossy-plan.ts");
  return planner.plan(expertMemory, await planLossy(file, resident, records, backend, lossy));
}

/** The plan of a model whose weights are planned. @throws StowageError load_option, kv_type */
export function sized(
  experts: ExpertPlan,
  options: SizeOptions,
  adapters: readonly NamedAdapterFile[] = [],
): ModelPlan {
  const { limits, kvTokens } = sizesOf(options, experts.layout.hyperparameters);
  const kvTypes = kvTypesOf(options.cacheTypeK, options.cacheTypeV);
  const memory = planMemory(experts.layout, limits, kvTokens, {
    experts: experts.slots?.plan,
    kvTypes,
    adapters,
  });
  return { ...experts, limits, memory, kvTypes, adapters };
}

/** How many layers are on the device. @throws StowageError load_option */
export function deviceLayersOf({ deviceLayers }: DeviceOptions, family: Family, file: GgufFile): number {
  const { layers } = family.read(file.metadata);
  return whole("deviceLayers", deviceLayers ?? layers, layers);
}

/** The options with their defaults. @throws StowageError load_option */
function sizesOf(
  options: SizeOptions,
  { contextTrained, encoder }: Hyperparameters,
): { limits: EngineLimits; kvTokens: number } {
  const contextTokens = whole(
    "contextTokens",
    options.contextTokens ?? Math.min(contextTrained, defaultContext),
    contextTrained,
  );
  const maxSequences = whole("maxSequences", options.maxSequences ?? defaultSequences, 1024);
  const asked = whole("stepTokens", options.stepTokens ?? defaultStepTokens, 1 << 16);
  // The sequences of an encoder are never cut.
  const stepTokens = encoder ? Math.max(asked, contextTokens) : asked;
  const kvDefault = Math.max(defaultContexts * contextTokens, maxSequences * leastTokensASequence);
  const kvTokens = whole("kvTokens", options.kvTokens ?? kvDefault, 1 << 30);
  return { limits: { contextTokens, maxSequences, stepTokens }, kvTokens };
}

/** @throws StowageError load_option unless `value` is a whole number from 1 to `high` */
export function whole(option: string, value: number, high: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= high) return value;
  throw new StowageError("load_option", { option, value, range: `a whole number from 1 to ${high}` });
}
