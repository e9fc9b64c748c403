/** Rounds of measurements on the engine: costs, and stalls beside those that a replay predicts with them. */
import type { ReplayCosts } from "../experts/replay/replay.ts";
import { stepsOf } from "../experts/replay/steps.ts";
import type { RoutingLog } from "../experts/trace/routing-log.ts";
import { fitCosts } from "./lab-experts-costs.ts";
import { type EngineRun, type ExpertsShape, runRequests } from "./lab-experts-engine.ts";
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
    /** What the replay says of the same requests, ms of stall a token. */
    readonly predictedMs: number;
  }[];
}

export interface Rounds {
  readonly path: string;
  readonly threads: number | undefined;
  readonly shape: ExpertsShape;
  readonly log: RoutingLog;
  /** Those of the log, in its order. */
  readonly requests: readonly AnsweredRequest[];
  readonly memory: readonly (string | number)[];
  readonly shares: readonly number[];
  readonly rounds: number;
}

/**
 * In each round and at each budget: lru, whose first requests tell what reads and layers take, then the default. What is
 * predicted with that are the stalls of the other requests.
 */
export async function engineRounds(of: Rounds): Promise<EngineRound[]> {
  const { log, shape, requests, memory, shares, rounds } = of;
  const chosen = spread(requests.length, mostRequests);
  const mine = chosen.map((index) => requests[index]!);
  const half = Math.floor(mine.length / 2);
  const { learned, counted } = stepsOfHalves(log, chosen, half);
  const found: EngineRound[] = [];
  const total = rounds * memory.length * validated.length;
  const progress = new Progress({ label: "Measuring on the engine", total, unit: "requests" });
  for (let round = 0; round < rounds; round++) {
    for (const [index, size] of memory.entries()) {
      const engine = { path: of.path, threads: of.threads, memory: size };
      const slots = slotsOf(shape, shares[index]!);
      const stallOf = (contender: Contender, steps: Omit<Scored, "log">, costs: ReplayCosts) => {
        const { stallMs, tokens } = replay({ log, ...steps }, contender, {
          slots,
          layerClass: shape.layerClass,
          costs,
        });
        return stallMs / tokens;
      };
      const runs: { contender: Contender; run: EngineRun }[] = [];
      let costs: ReplayCosts | undefined;
      for (const contender of validated) {
        const policy = contender.name as "lru";
        const { first, second } = await runRequests({ ...engine, policy }, mine, half);
        costs ??= fitCosts(first, log.layers, (tried) =>
          stallOf(contender, { learned: [], counted: learned }, tried),
        );
        runs.push({ contender, run: second });
        progress.update(found.length * validated.length + runs.length);
      }
      found.push({
        share: shares[index]!,
        costs: costs!,
        runs: runs.map((one) => ({
          ...one,
          predictedMs: stallOf(one.contender, { learned, counted }, costs!),
        })),
      });
    }
  }
  progress.finish();
  return found;
}

/** The steps of the first `half` of some requests of a log, and of the others. */
function stepsOfHalves(log: RoutingLog, chosen: readonly number[], half: number): Omit<Scored, "log"> {
  const numbers = [...new Set(log.request)];
  const places = new Map(chosen.map((index, place) => [numbers[index]!, place]));
  const steps = stepsOf(log).map((step) => ({ step, place: places.get(log.request[step.rows[0]!]!) }));
  const those = (ofPlace: (place: number) => boolean) =>
    steps.filter(({ place }) => place !== undefined && ofPlace(place)).map(({ step }) => step);
  return { learned: those((place) => place < half), counted: those((place) => place >= half) };
}

/** So many places of `count`, evenly spread; all where there are no more. */
function spread(count: number, most: number): number[] {
  const chosen = Math.min(count, most);
  return Array.from({ length: chosen }, (_, index) => Math.floor((index * count) / chosen));
}
