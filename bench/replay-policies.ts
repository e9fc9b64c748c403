/**
 * Eviction policies on a routing trace: `node bench/replay-policies.ts TRACE`. Requests with even numbers are run first, and
 * nothing of them is counted: policies learn there. What is counted are the decode steps of the others.
 */
import { PolicyPair } from "../src/experts/policies/pair.ts";
import { policyNames, policyPair } from "../src/experts/policies/policies.ts";
import { Belady } from "../src/experts/replay/belady.ts";
import { Replay } from "../src/experts/replay/replay.ts";
import { stepsOf } from "../src/experts/replay/steps.ts";
import { readRoutingTrace } from "../src/experts/trace/reader.ts";
import { table } from "../src/workload/report-table.ts";

const log = await readRoutingTrace(process.argv[2] ?? "");
const steps = stepsOf(log);
const ofHalf = (half: number) => steps.filter(({ rows: [first] }) => log.request[first!]! % 2 === half);
const [learned, counted] = [ofHalf(0), ofHalf(1)];
/** A disk and a computation of about the same speed: what comes of it is comparable with itself alone. */
const costs = { layerMs: 0.3, readMs: 0.1 };

for (const share of [0.25, 0.5]) {
  const slots = Math.floor(share * log.layers * log.experts);
  const rows: string[][] = [];
  let lru = 0;
  let best = 0;
  for (const name of ["belady", ...policyNames] as const) {
    const misses = (["none", "next-gate"] as const).map((prefetch) => {
      const policy =
        name === "belady"
          ? new PolicyPair(new Belady(log, [...learned, ...counted]), undefined)
          : policyPair(name, { ...log, slots }, prefetch);
      const replay = new Replay(log, { slots: [slots], policy, costs });
      replay.run(learned);
      replay.clearCounts();
      replay.run(counted);
      return replay.result;
    });
    const [alone, ahead] = misses as [(typeof misses)[0], (typeof misses)[0]];
    if (name === "belady") best = alone.misses;
    if (name === "lru") lru = alone.misses;
    const gap = name === "belady" ? 1 : (lru - alone.misses) / (lru - best);
    const percent = (value: number) => (100 * value).toFixed(1);
    rows.push([
      name,
      percent(alone.hits / alone.uses),
      name === "lru" ? "0" : percent(gap),
      String(alone.reads),
      percent(ahead.hits / ahead.uses),
      String(ahead.reads),
      `${alone.stallMs.toFixed(0)} ${ahead.stallMs.toFixed(0)}`,
    ]);
  }
  console.log(`\n${100 * share} % of all experts in memory, ${log.count} tokens recorded`);
  const head = [
    "eviction",
    "hits %",
    "of the gap to Belady %",
    "reads",
    "hits with next-gate %",
    "reads",
    "stalls ms",
  ];
  console.log(table([head, ...rows]));
}
