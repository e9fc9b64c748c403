/** The replays of `stowage lab experts`: every policy over the same trace. */
import { allRecordBytes } from "../experts/layout.ts";
import { PolicyPair } from "../experts/policies/pair.ts";
import { type PolicyName, policyNames, policyPair } from "../experts/policies/policies.ts";
import type { PolicyShape } from "../experts/policies/policy.ts";
import { Belady } from "../experts/replay/belady.ts";
import { OraclePrefetch } from "../experts/replay/oracle-prefetch.ts";
import { Replay, type ReplayCosts, type ReplayResult } from "../experts/replay/replay.ts";
import { type ReplayStep, stepsOf } from "../experts/replay/steps.ts";
import { slotCounts } from "../experts/slots.ts";
import type { RoutingLog } from "../experts/trace/routing-log.ts";
import type { ExpertsShape } from "./lab-experts-engine.ts";

/** What is replayed: policies learn on some requests, and are scored on others. */
export interface Scored {
  readonly log: RoutingLog;
  readonly learned: readonly ReplayStep[];
  readonly counted: readonly ReplayStep[];
}

/** Who is compared: a policy, with what it reads ahead or without; and the bounds that know the trace. */
export interface Contender {
  readonly name: PolicyName | "belady" | "oracle-prefetch";
  readonly ahead: boolean;
}

/** One contender at one budget. */
export interface Outcome extends ReplayResult {
  readonly contender: Contender;
  /** Share of all experts. */
  readonly share: number;
}

/** Requests with even places in the log are learned from, the others are counted. */
export function halvesOf(log: RoutingLog): Scored {
  const places = new Map<number, number>();
  for (const request of log.request) if (!places.has(request)) places.set(request, places.size);
  const steps = stepsOf(log);
  const ofHalf = (half: number) =>
    steps.filter(({ rows: [first] }) => places.get(log.request[first!]!)! % 2 === half);
  return { log, learned: ofHalf(0), counted: ofHalf(1) };
}

/** Every policy, those that read ahead also without; then the bounds. */
export function contendersOf(shape: PolicyShape): Contender[] {
  const policies = policyNames.flatMap((name) => {
    const without = { name, ahead: false };
    return policyPair(name, shape).prefetch ? [{ name, ahead: true }, without] : [without];
  });
  return [...policies, { name: "belady", ahead: false }, { name: "oracle-prefetch", ahead: true }];
}

/** The slots of each class that a share of all experts gives. @throws StowageError expert_memory */
export function slotsOf({ layout, used }: ExpertsShape, share: number): number[] {
  return slotCounts(layout, Math.floor(share * allRecordBytes(layout)), used);
}

export function policyShape({ experts, layers, used }: RoutingLog, slots: readonly number[]): PolicyShape {
  return { layers, experts, used, slots: slots.reduce((sum, count) => sum + count, 0) };
}

/** Replays a trace under a contender; what it learned from does not count. */
export function replay(
  { log, learned, counted }: Scored,
  { name, ahead }: Contender,
  setup: { slots: readonly number[]; layerClass: readonly number[]; costs: ReplayCosts },
): ReplayResult {
  const shape = policyShape(log, setup.slots);
  const policy = policyOf(name, ahead, shape, log, [...learned, ...counted]);
  const replay = new Replay(log, { ...setup, policy });
  replay.run(learned);
  replay.clearCounts();
  replay.run(counted);
  return replay.result;
}

function policyOf(
  name: Contender["name"],
  ahead: boolean,
  shape: PolicyShape,
  log: RoutingLog,
  steps: readonly ReplayStep[],
): PolicyPair {
  if (name === "belady") return new PolicyPair(new Belady(log, steps), undefined);
  if (name === "oracle-prefetch") {
    const oracle = new OraclePrefetch(log, steps, shape.slots);
    return new PolicyPair(oracle, oracle);
  }
  return policyPair(name, shape, ahead ? undefined : "none");
}

/** The misses of an outcome that Belady would have saved: of the gap between lru's and his, the share. */
export function gapClosed(misses: number, lru: number, belady: number): number {
  return lru === belady ? 0 : (lru - misses) / (lru - belady);
}
