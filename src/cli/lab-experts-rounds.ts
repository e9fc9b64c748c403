/** Rounds of measurements on the engine: costs, and stalls beside those that a replay predicts with them. */
import type { ReplayCosts } from "../experts/replay/replay.ts";
import { stepsOf } from "../experts/replay/steps.ts";
import { median } from "../workload/statistics.ts";
import { type EngineRun, type ExpertsShape, measureReads, runRequests } from "./lab-experts-engine.ts";
import { type Contender, replay, type Scored, slotsOf } from "./lab-experts-replay.ts";
import type { AnsweredRequest } from "./lab-routing.ts";
import { Progress } from "./progress.ts";

/** Requests that the engine runs for each policy and budget; the first half fills cache and policy. */
const mostRequests = 32;

/** Whose stalls are predicted: the plainest, and the default. */
const validated: readonly Contender[] = [
  { name: "lru", ahead: false },
  { name: "composite", ahead: true },
];

/** One budget in one round. */
export interface EngineRound {
  readonly share: number;
  readonly costs: ReplayCosts;
  readonly runs: readonly {
    readonly contender: Contender;
    readonly run: EngineRun;
    /** What the replay says of the same requests, ms of stall a token; NaN where the trace is of others. */
    readonly predictedMs: number;
  }[];
}

export interface Rounds {
  readonly path: string;
  readonly threads: number | undefined;
  readonly shape: ExpertsShape;
  readonly scored: Scored;
  /** Whether the trace is of these requests, so that their stalls can be predicted. */
  readonly validates: boolean;
  readonly requests: readonly AnsweredRequest[];
  readonly memory: readonly (string | number)[];
  readonly shares: readonly number[];
  readonly rounds: number;
}

/** In each round and at each budget: what reads take; then lru, which tells what layers take, and the default. */
export async function engineRounds(of: Rounds): Promise<EngineRound[]> {
  const { requests, memory, shares, rounds } = of;
  const chosen = spread(requests.length, mostRequests);
  const mine = chosen.map((index) => requests[index]!);
  const from = Math.floor(mine.length / 2);
  const found: EngineRound[] = [];
  const total = rounds * memory.length * validated.length;
  const progress = new Progress({ label: "Measuring on the engine", total, unit: "requests" });
  for (let round = 0; round < rounds; round++) {
    for (const [index, size] of memory.entries()) {
      const engine = { path: of.path, threads: of.threads, memory: size };
      const reads = await measureReads({ ...engine, policy: "lru" });
      const runs: { contender: Contender; run: EngineRun }[] = [];
      for (const contender of validated) {
        const policy = contender.name as "lru";
        runs.push({ contender, run: await runRequests({ ...engine, policy }, mine, from) });
        progress.update(found.length * validated.length + runs.length);
      }
      const { run } = runs[0]!;
      const layerMs = (run.ms - run.stallMs) / (run.tokens * of.scored.log.layers);
      const costs = { ...reads, layerMs };
      const predicted = (contender: Contender) =>
        !of.validates ? Number.NaN : predict(of, chosen, from, contender, shares[index]!, costs);
      found.push({
        share: shares[index]!,
        costs,
        runs: runs.map((one) => ({ ...one, predictedMs: predicted(one.contender) })),
      });
    }
  }
  progress.finish();
  return found;
}

/** The medians of all rounds. */
export function costsOf(rounds: readonly EngineRound[]): ReplayCosts {
  const of = (cost: (costs: ReplayCosts) => number) => median(rounds.map(({ costs }) => cost(costs)));
  return {
    layerMs: of(({ layerMs }) => layerMs),
    readMs: of(({ readMs }) => readMs),
    latencyMs: of(({ latencyMs = 0 }) => latencyMs),
    readsInFlight: rounds[0]!.costs.readsInFlight,
  };
}

/** Stall of the same requests in replay, ms a token. */
function predict(
  { scored, shape }: Rounds,
  chosen: readonly number[],
  from: number,
  contender: Contender,
  share: number,
  costs: ReplayCosts,
): number {
  const { log } = scored;
  const numbers = [...new Set(log.request)];
  const places = new Map(chosen.map((index, place) => [numbers[index]!, place]));
  const part = (of: (place: number) => boolean) =>
    stepsOf(log).filter(({ rows: [first] }) => of(places.get(log.request[first!]!) ?? Number.NaN));
  const halves = { log, learned: part((place) => place < from), counted: part((place) => place >= from) };
  const setup = { slots: slotsOf(shape, share), layerClass: shape.layerClass, costs };
  const { stallMs, tokens } = replay(halves, contender, setup);
  return stallMs / tokens;
}

/** So many places of `count`, evenly spread; all where there are no more. */
function spread(count: number, most: number): number[] {
  const chosen = Math.min(count, most);
  return Array.from({ length: chosen }, (_, index) => Math.floor((index * count) / chosen));
}
