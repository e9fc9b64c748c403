/** The engine's part of `stowage lab experts`: what reads and layers take here, and what policies come to. */
import { type LoadedModel, loadEngine } from "../engine/load.ts";
import { StowageError } from "../errors.ts";
import type { ExpertCache } from "../experts/cache.ts";
import type { ExpertLayout } from "../experts/layout.ts";
import type { PolicyName, PrefetchName } from "../experts/policies/policies.ts";
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
  /** The latest waits for one expert, ms. */
  readonly waitsForOne: readonly number[];
  readonly readsInFlight: number;
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

/** @throws StowageError bench_experts for a model whose experts all fit, or that has none */
async function load({
  path,
  memory,
  policy,
  prefetch,
  threads,
}: Budgeted): Promise<LoadedModel & { experts: ExpertCache }> {
  const model = await loadEngine(path, {
    learnt: "none",
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
 * Runs requests on the engine, with the tokens that they once had, and adds up the decode steps of the first `half` of
 * them, and of the others.
 * @throws StowageError bench_experts, expert_*, and what loading throws
 */
export async function runRequests(
  of: Budgeted,
  requests: readonly AnsweredRequest[],
  half: number,
): Promise<{ first: EngineRun; second: EngineRun }> {
  const model = await load(of);
  try {
    const runs: EngineRun[] = [];
    for (const part of [requests.slice(0, half), requests.slice(half)]) {
      const total = { tokens: 0, ms: 0, stallMs: 0, decidedMs: 0, besideMs: 0, hits: 0, uses: 0 };
      for (const request of part) {
        const run = await decode(model, request);
        for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += run[key];
      }
      const { policy, readsInFlight } = model.experts;
      const { waitsForOne } = model.experts.metrics;
      runs.push({ ...total, waitsForOne: [...waitsForOne], readsInFlight, says: policy.says });
    }
    return { first: runs[0]!, second: runs[1]! };
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
