import type { LoadedModel } from "../engine/load.ts";
import type { ExpertDecisions, ExpertReads } from "../workload/side-messages.ts";

/** What reading experts took since the model was loaded, as it stands now; undefined when all are resident. */
export function expertReadsOf({ engine, experts }: LoadedModel): ExpertReads | undefined {
  if (!experts) return undefined;
  const { readBytes, waitedBytes, readMs, readMsSum, total } = experts.metrics;
  return {
    bytes: readBytes,
    demandBytes: Math.round(waitedBytes),
    demandMs: experts.metrics.waitedMs(performance.now()),
    stallMs: total.stallMs,
    readMs,
    readMsSum,
    computeMs: engine.computeMs,
  };
}

/** What the policy of experts came to since the model was loaded; undefined when all are resident. */
export function expertDecisionsOf({ experts }: LoadedModel): ExpertDecisions | undefined {
  if (!experts) return undefined;
  const { decidedMs, besideMs, total } = experts.metrics;
  return { asked: total.hits + total.misses + total.late, hits: total.hits, decidedMs, besideMs };
}
