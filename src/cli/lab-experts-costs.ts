/** What reads and layers take, told by a run on the engine, so that replays of other requests can be believed. */
import type { ReplayCosts } from "../experts/replay/replay.ts";
import { median } from "../workload/statistics.ts";
import type { EngineRun } from "./lab-experts-engine.ts";

/** Halvings of the range in which the time of a read is sought: to a thousandth of it. */
const halvings = 10;

/**
 * Costs with which a replay of a run has the stalls that the run had. Latencies are the times that steps waited for one
 * expert alone; what each expert more costs is found by trial, so that it all adds up.
 * @param run without reading ahead: a step waits for all that it reads
 * @param stallOf replays the same requests, and gives ms of stall a token
 */
export function fitCosts(
  run: EngineRun,
  layers: number,
  stallOf: (costs: ReplayCosts) => number,
): ReplayCosts {
  const { ms, stallMs, tokens, waitsForOne, readsInFlight } = run;
  const layerMs = (ms - stallMs) / (tokens * layers);
  const costs = (readMs: number) => ({
    ...{ layerMs, readMs, readsInFlight },
    latencies: waitsForOne.map((wait) => Math.max(0, wait - readMs)),
  });
  let [low, high] = [0, median(waitsForOne) || 1];
  for (let halving = 0; halving < halvings; halving++) {
    const middle = (low + high) / 2;
    if (stallOf(costs(middle)) < stallMs / tokens) low = middle;
    else high = middle;
  }
  return costs((low + high) / 2);
}

/** The middle of several. */
export function middleCosts(all: readonly ReplayCosts[]): ReplayCosts {
  return {
    layerMs: median(all.map(({ layerMs }) => layerMs)),
    readMs: median(all.map(({ readMs }) => readMs)),
    latencies: all.flatMap(({ latencies = [] }) => latencies),
    readsInFlight: all[0]!.readsInFlight ?? 1,
  };
}
