import { chunkGaps, firstTokenMs, type LoadRecord, tokenMs, wholeMs } from "./load-record.ts";
import { type Summary, summarise } from "./statistics.ts";

/** The most that each latency of a good request may be, ms. */
export interface Goals {
  readonly ttft?: number;
  readonly tpot?: number;
  readonly e2e?: number;
}

/** What a load measurement found. Latencies are of the requests that completed. */
export interface LoadMetrics {
  /** Requests that ended, well or not; those that this side cut off are `unfinished` and in nothing else. */
  readonly ended: number;
  readonly completed: number;
  readonly unfinished: number;
  /** Failed requests by kind and code, such as "refused 503 overloaded", and what the first of them was told. */
  readonly faults: ReadonlyMap<string, { readonly count: number; readonly message: string }>;
  /** From the first request sent to the last that ended, s. */
  readonly seconds: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  /** Completed requests, and tokens of them, a second. */
  readonly requestsPerSecond: number;
  readonly inputTokensPerSecond: number;
  readonly outputTokensPerSecond: number;
  /** Time to first token, time per token after it, gap between chunks, and whole time, ms. */
  readonly ttft: Summary;
  readonly tpot: Summary;
  readonly itl: Summary;
  readonly e2e: Summary;
  /** How late this side sent requests that were due, ms: above a few, it was itself too slow for the rate. */
  readonly late: Summary;
  /** Requests that completed within every goal; undefined without goals. */
  readonly good: { readonly count: number; readonly perSecond: number; readonly share: number } | undefined;
}

/** Computes the metrics. Shares and rates of no requests are NaN. */
export function loadMetrics(records: readonly LoadRecord[], goals: Goals = {}): LoadMetrics {
  const ended = records.filter(({ fault }) => fault?.kind !== "cancelled");
  const completed = ended.filter(({ fault }) => fault === undefined);
  const seconds = spanSeconds(ended);
  const input = sum(completed, "inputTokens");
  const output = sum(completed, "outputTokens");
  const good = completed.filter((record) => meets(record, goals)).length;
  return {
    ended: ended.length,
    completed: completed.length,
    unfinished: records.length - ended.length,
    faults: faultCounts(ended),
    seconds,
    inputTokens: input,
    outputTokens: output,
    cachedTokens: sum(completed, "cachedTokens"),
    requestsPerSecond: completed.length / seconds,
    inputTokensPerSecond: input / seconds,
    outputTokensPerSecond: output / seconds,
    ttft: summarise(completed.map(firstTokenMs)),
    tpot: summarise(completed.map(tokenMs)),
    itl: summarise(completed.flatMap(chunkGaps)),
    e2e: summarise(completed.map(wholeMs)),
    late: summarise(records.map(({ dueAt, sentAt }) => sentAt - dueAt)),
    good:
      Object.keys(goals).length === 0
        ? undefined
        : { count: good, perSecond: good / seconds, share: good / ended.length },
  };
}

/** Whether a completed request is within every goal. One without a second token has no time per token to miss. */
export function meets(record: LoadRecord, { ttft, tpot, e2e }: Goals): boolean {
  const first = firstTokenMs(record);
  if (ttft !== undefined && !(first <= ttft)) return false;
  if (tpot !== undefined && tokenMs(record) > tpot) return false;
  return e2e === undefined || wholeMs(record) <= e2e;
}

function faultCounts(records: readonly LoadRecord[]): LoadMetrics["faults"] {
  const counts = new Map<string, { count: number; message: string }>();
  for (const { fault } of records) {
    if (!fault) continue;
    const name = `${fault.kind} ${fault.code}`.trim();
    const { count, message } = counts.get(name) ?? { count: 0, message: fault.message };
    counts.set(name, { count: count + 1, message });
  }
  return counts;
}

function spanSeconds(records: readonly LoadRecord[]): number {
  if (records.length === 0) return Number.NaN;
  const first = records.reduce((least, { sentAt }) => Math.min(least, sentAt), Number.POSITIVE_INFINITY);
  return (records.reduce((most, { endedAt }) => Math.max(most, endedAt), first) - first) / 1000;
}

type Count = "inputTokens" | "outputTokens" | "cachedTokens";

function sum(records: readonly LoadRecord[], field: Count): number {
  return records.reduce((total, record) => total + record[field], 0);
}
