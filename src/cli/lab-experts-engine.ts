/** The engine's part of `stowage lab experts`: what reads and layers take here, and what policies come to. */
import { type LoadedModel, loadEngine } from "../engine/load.ts";
import { StowageError } from "../errors.ts";
import type { ExpertCache } from "../experts/cache.ts";
import type { ExpertLayout } from "../experts/layout.ts";
import type { PolicyName, PrefetchName } from "../experts/policies/policies.ts";
import type { ReplayCosts } from "../experts/replay/replay.ts";
import { median } from "../workload/statistics.ts";
import type { AnsweredRequest } from "./lab-routing.ts";

/** An engine with a budget for its experts. */
export interface Budgeted {
  readonly path: string;
  readonly memory: string | number;
  readonly policy: PolicyName;
  readonly prefetch?: PrefetchName;
  readonly threads: number | undefined;
}

/** What decode steps came to. */
export interface EngineRun {
  readonly tokens: number;
  readonly ms: number;
  readonly stallMs: number;
  /** Of policies: while a step waited for them, and beside the computation. */
  readonly decidedMs: number;
  readonly besideMs: number;
  readonly hits: number;
  readonly uses: number;
  /** What the policy says it has come to. */
  readonly says: string | undefined;
}

/** How the experts of a model are made up, as far as a replay has to know. */
export interface ExpertsShape {
  readonly layout: ExpertLayout;
  /** The class of each layer that has experts. */
  readonly layerClass: readonly number[];
  readonly used: number;
}

/** Samples of each number of experts that are read at once. */
const readSamples = 40;

/** @throws StowageError bench_experts for a model whose experts all fit, or that has none */
async function load({
  path,
  memory,
  policy,
  prefetch,
  threads,
}: Budgeted): Promise<LoadedModel & { experts: ExpertCache }> {
  const model = await loadEngine(path, {
    ...{ expertMemory: memory, expertPolicy: policy, maxSequences: 1, speculate: "off" },
    ...(prefetch && { expertPrefetch: prefetch }),
    ...(threads !== undefined && { threads }),
  });
  const { experts } = model;
  if (!experts) {
    await model.dispose();
    throw new StowageError("bench_experts", {
      path,
      reason: `all experts fit into ${memory}, or it has none`,
    });
  }
  await model.engine.settled;
  return { ...model, experts };
}

/** The shape of a model's experts. @throws StowageError bench_experts, and what loading throws */
export async function expertsShape(of: Budgeted): Promise<ExpertsShape> {
  const model = await load(of);
  const { layout } = model.experts;
  const layerClass = layout.layerClass.filter((index) => index !== null);
  await model.dispose();
  return { layout, layerClass, used: model.hyperparameters.expertsUsed };
}

/**
 * Measures what it takes to have n missing experts of a layer at once, as a decode step waits for them: through store,
 * queue and event loop, with nothing else to do. A line through the medians gives latency and time a read.
 * @throws StowageError bench_experts, expert_*, and what loading throws
 */
export async function measureReads(
  of: Budgeted,
): Promise<Pick<ReplayCosts, "readMs" | "latencyMs" | "readsInFlight">> {
  const model = await load(of);
  try {
    const { experts, hyperparameters } = model;
    const most = Math.max(2, hyperparameters.expertsUsed);
    const medians: [number, number][] = [];
    const next = missingExperts(experts);
    for (let count = 1; count <= most; count++) {
      const times: number[] = [];
      for (let sample = 0; sample < readSamples; sample++) {
        const { layer, chosen } = next(count);
        const before = { misses: experts.metrics.total.misses, stallMs: experts.metrics.stallMs };
        await experts.acquire(layer, chosen);
        experts.release(layer, chosen);
        if (experts.metrics.total.misses - before.misses === count)
          times.push(experts.metrics.stallMs - before.stallMs);
      }
      medians.push([count, median(times)]);
    }
    return { ...line(medians), readsInFlight: experts.readsInFlight };
  } finally {
    await model.dispose();
  }
}

/** Goes round all experts, so that those it names left the cache long ago. */
function missingExperts({ layout }: ExpertCache): (count: number) => { layer: number; chosen: number[] } {
  const layers = [...layout.layerClass.keys()].filter((layer) => layout.layerClass[layer] !== null);
  let at = 0;
  let first = 0;
  return (count) => {
    if (first + count > layout.experts) {
      first = 0;
      at = (at + 1) % layers.length;
    }
    const chosen = Array.from({ length: count }, (_, index) => first + index);
    first += count;
    return { layer: layers[at]!, chosen };
  };
}

/** The line of least squares through [n, ms]; neither part is below 0. */
function line(points: readonly (readonly [number, number])[]): { latencyMs: number; readMs: number } {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const over = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const under = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const readMs = Math.max(0, Math.min(over / under, meanY / meanX));
  return { readMs, latencyMs: Math.max(0, meanY - readMs * meanX) };
}

/**
 * Runs requests on the engine, with the tokens that they once had, and adds up the decode steps of those from `from` on.
 * @throws StowageError bench_experts, expert_*, and what loading throws
 */
export async function runRequests(
  of: Budgeted,
  requests: readonly AnsweredRequest[],
  from: number,
): Promise<EngineRun> {
  const model = await load(of);
  try {
    const total = { tokens: 0, ms: 0, stallMs: 0, decidedMs: 0, besideMs: 0, hits: 0, uses: 0 };
    for (const [index, request] of requests.entries()) {
      const run = await decode(model, request);
      if (index < from) continue;
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += run[key];
    }
    return { ...total, says: model.experts.policy.says };
  } finally {
    await model.dispose();
  }
}

/** One request; what is counted begins with its first token. */
async function decode(
  { engine, experts }: LoadedModel & { experts: ExpertCache },
  { prompt, answer }: AnsweredRequest,
) {
  let before = snapshot(experts);
  let tokens = 0;
  const sequence = engine.submit({
    ...{ prompt, forced: answer.slice(0, -1), maxTokens: answer.length, ignoreEnd: true },
    sampling: { temperature: 0 },
  });
  for await (const event of sequence)
    if (event.type === "token" && tokens++ === 0) before = snapshot(experts);
  const after = snapshot(experts);
  const run = { ...after, tokens: tokens - 1 };
  for (const key of Object.keys(before) as (keyof typeof before)[]) run[key] -= before[key];
  return run;
}

function snapshot({ metrics }: ExpertCache) {
  const { hits, misses, late } = metrics.total;
  const { stallMs, decidedMs, besideMs } = metrics;
  return { ms: performance.now(), stallMs, decidedMs, besideMs, hits, uses: hits + misses + late };
}
