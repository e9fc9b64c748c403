import { availableParallelism } from "node:os";
import { StowageError } from "../errors.ts";
import type { ExpertCache } from "../experts/cache.ts";
import type { Learnt } from "../experts/learnt.ts";
import type { LossyExperts } from "../experts/lossy/lossy-experts.ts";
import type { PathPredictor } from "../experts/policies/path-predictor.ts";
import { Backend } from "../ggml/backend.ts";
import { Device } from "../ggml/device.ts";
import { loadNative } from "../ggml/library.ts";
import { requireArchitecture } from "../gguf/metadata.ts";
import { openGguf } from "../gguf/read.ts";
import { KvTensors } from "../kv/tensors.ts";
import { kvShape } from "../model/attention-shape.ts";
import { familyOf } from "../model/families.ts";
import type { Runtime } from "../model/forward.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import { Adapters } from "../model/lora/adapters.ts";
import { type Pooling, pooledBy } from "../model/pooling.ts";
import { RoutingTap } from "../model/routing-tap.ts";
import { tokenEmbedding } from "../model/token-embedding.ts";
import { ModelWeights } from "../model/weights.ts";
import type { SchedulingPolicy } from "../scheduler/plan.ts";
import { FirstComeFirstServed } from "../scheduler/policies/fcfs.ts";
import { RegroupByExperts } from "../scheduler/policies/regroup.ts";
import { WholeSequences } from "../scheduler/policies/whole.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import {
  checkDeviceMemory,
  checkDeviceOptions,
  checkDeviceSupport,
  type DeviceOptions,
  loadDevicePart,
  splitKv,
} from "./device-memory.ts";
import { Engine } from "./engine.ts";
import type { ExpertOptions } from "./expert-memory.ts";
import { Grammars } from "./grammars.ts";
import { checkBudget, type MemoryPlan } from "./memory-plan.ts";
import { type AdapterOptions, planModel, type SizeOptions, whole } from "./plan.ts";
import { type RoutingRecord, RoutingRecorder } from "./routing-recorder.ts";
import { checkSpeculate, type Speculate } from "./speculation.ts";

/** How a model is loaded. Everything has a default that suits a laptop. */
export interface LoadOptions extends SizeOptions, AdapterOptions, ExpertOptions, DeviceOptions {
  /** Compute threads. Default: the processors that this process may use. */
  readonly threads?: number;
  /** Bytes that weights, KV cache and working memory may take together. Default: no limit. */
  readonly memory?: number;
  /** How a text's embedding is made of its tokens'. Default: as the file says, else the mean, of decoders the last. */
  readonly pooling?: Pooling;
  /** Called when it is known what the model takes and before any of that is taken; loading waits, and fails as it does. */
  readonly onPlan?: (plan: MemoryPlan) => Promise<void>;
  /**
   * Whether tokens are drafted out of what a sequence holds already: as long as that pays (`auto`), never (`off`), or
   * so many wherever something can be drafted, 1 to 15. Default: `auto`. Tokens stay the same, see docs/speculation.md.
   */
  readonly speculate?: Speculate;
  /** Write the routing of every token into this file; only for mixtures of experts. Steps take longer, see docs/lab.md. */
  readonly recordRouting?: string | RoutingRecord;
  /** Aborting it ends the loading between two weights. */
  readonly signal?: AbortSignal;
}

/** A model in memory with its engine and tokenizer; all of it is given back by `dispose`. */
export interface LoadedModel {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** What requests hold their text to. */
  readonly grammars: Grammars;
  /** What the engine's steps run on. Others may run steps on it while the engine idles. */
  readonly runtime: Runtime;
  readonly hyperparameters: Hyperparameters;
  readonly plan: MemoryPlan;
  /** How embeddings are made where a request does not say; `rank` is none that can be had. */
  readonly pooling: Pooling | "rank";
  /** Where the experts are, when they have a budget that does not hold them all. */
  readonly experts: ExpertCache | undefined;
  /** Their low-precision copies, in a lossy mode. */
  readonly lossy: LossyExperts | undefined;
  /** What writes the routing, where that is recorded. */
  readonly recorder: RoutingRecorder | undefined;
  dispose(): Promise<void>;
}

/**
 * Opens and checks a model file and readies it to answer. Weights are used from the mapped file at first; the engine
 * converts them to the fast layout while it idles and between steps, see {@link Engine.settled}. Nothing is held
 * when it throws.
 * @throws StowageError native_*, gguf_*, model_*, load_option, memory_budget; the signal's reason when it is aborted
 */
export async function loadEngine(path: string, options: LoadOptions = {}): Promise<LoadedModel> {
  options.signal?.throwIfAborted();
  const speculate = checkSpeculate(options.speculate ?? "auto");
  const file = await openGguf(path);
  const family = familyOf(requireArchitecture(file.metadata));
  const owned: { dispose(): void }[] = [];
  const own = <T extends { dispose(): void }>(resource: T): T => {
    owned.push(resource);
    return resource;
  };
  checkDeviceOptions(options);
  // Before libllama is used: it looks through the devices on another thread.
  const device = options.device === undefined ? undefined : own(new Device(options.device));
  // Off this thread: the vocabulary is read while the weights are planned and mapped.
  const vocabulary = Tokenizer.load(file);
  let tokenizer: Tokenizer | undefined;
  let experts: ExpertCache | undefined;
  let lossy: LossyExperts | undefined;
  let learnt: Learnt | undefined;
  let recorder: RoutingRecorder | undefined;
  let paths: PathPredictor | undefined;
  try {
    if (options.regroupExperts !== undefined) whole("regroupExperts", options.regroupExperts, 1024);
    const threads = whole("threads", options.threads ?? availableParallelism(), 512);
    const backend = own(new Backend(loadNative(), { threads }));
    const planned = await planModel(file, family, backend, options);
    const { layout, slots, limits, kvTypes, memory: plan } = planned;
    const h = layout.hyperparameters;
    if (options.memory !== undefined) checkBudget(plan, options.memory);
    if (device) checkDeviceMemory(planned, device);
    await options.onPlan?.(plan);

    const weights = own(new ModelWeights(file, layout, backend));
    const kv = own(
      device ? splitKv(backend, device, planned) : new KvTensors(backend, kvShape(h, plan.kvCells, kvTypes)),
    );
    const part = device && (await loadDevicePart(file, planned, device, options.signal));
    if (part) own(part.weights);
    const adapters = planned.adapters.length > 0 ? own(new Adapters(backend, planned.adapters)) : undefined;
    tokenizer = own(await vocabulary);
    if (tokenizer.warning) options.onHint?.(tokenizer.warning);
    options.signal?.throwIfAborted();
    if (slots) {
      const { openExperts } = await import("./expert-memory.ts");
      const embedding = tokenEmbedding(weights.globals);
      ({
        cache: experts,
        lossy,
        learnt,
        paths,
      } = await openExperts(file, slots, backend, options, embedding));
      backend.sleepBetweenGraphs();
    }
    if (options.recordRouting !== undefined) {
      requireExperts(options.recordRouting, h);
      const tap = own(new RoutingTap(backend, weights, limits.stepTokens));
      recorder = await RoutingRecorder.create(options.recordRouting, path, h, tap);
    }
    const runtime = {
      ...{ backend, family, weights, kv },
      contextTokens: limits.contextTokens,
      ...(part && { part }),
      ...(experts && { experts }),
      ...(lossy && { lossy }),
      ...(adapters && { adapters }),
      ...(recorder && { tap: recorder.tap }),
    };
    if (part) await checkDeviceSupport({ ...runtime, part });
    const policy = h.encoder ? new WholeSequences() : decoderPolicy(options, paths);
    const engine = new Engine(runtime, tokenizer, policy, limits, { recorder, speculate });
    const dispose = async () => {
      await engine.close();
      // What is left of a trace may fail to be written: the memory is given back all the same.
      const recorded = recorder?.close();
      await recorded?.catch(() => {});
      await learnt?.dispose();
      await experts?.dispose();
      await lossy?.dispose();
      for (const resource of owned.splice(0).reverse()) resource.dispose();
      await recorded;
    };
    const usual = h.encoder ? "mean" : "last";
    const pooling = options.pooling ?? pooledBy(file.metadata, h.architecture) ?? usual;
    const grammars = new Grammars(tokenizer);
    const made = { engine, tokenizer, grammars, runtime, hyperparameters: h, plan, pooling };
    return { ...made, experts, lossy, recorder, dispose };
  } catch (error) {
    if (!tokenizer) {
      await vocabulary.then(
        (unused) => unused.dispose(),
        () => {},
      );
    }
    await recorder?.close().catch(() => {});
    await learnt?.dispose();
    await experts?.dispose();
    await lossy?.dispose();
    for (const resource of owned.reverse()) resource.dispose();
    throw error;
  }
}

/** First come, first served; with regrouping where it is asked for, which needs a predictor of the experts. */
function decoderPolicy({ regroupExperts }: LoadOptions, paths: PathPredictor | undefined): SchedulingPolicy {
  const fcfs = new FirstComeFirstServed();
  if (regroupExperts === undefined || !paths) return fcfs;
  return new RegroupByExperts(fcfs, regroupExperts, (token) => paths.path(token));
}

function requireExperts(record: string | RoutingRecord, { experts }: Hyperparameters): void {
  if (experts > 0) return;
  const value = typeof record === "string" ? record : record.path;
  const range = "for models with experts only; this one is dense";
  throw new StowageError("load_option", { option: "recordRouting", value, range });
}
