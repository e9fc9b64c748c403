import type { Cell } from "../workload/report.ts";
import type { ExpertReads, ReplayPart } from "../workload/side-messages.ts";
import type { Run, Work } from "./bench-experts-run.ts";

/** What both sides are compared in, in tokens a second but for `chat`, which is the time of a whole answer. */
export const metrics = ["decode", "prefill_32", "decode_after_prefill", "prefill_512", "chat"] as const;
export type Metric = (typeof metrics)[number];

/** Steps after a long prompt that count as right after it. */
export const afterPrefillSteps = 16;

/** Tokens, the time that they took, and what was read meanwhile; undefined when a run did not get so far. */
export interface Sample {
  readonly tokens: number;
  readonly milliseconds: number;
  readonly diskBytes: number;
  /** Of each step, or of the whole, ms. */
  readonly raw: readonly number[];
}

/** Reads a metric out of a run. */
export function sampleOf(run: Run, metric: Metric, work: Work): Sample | undefined {
  const { short, long } = run;
  if (metric === "decode") return short && steps(short.decode, work.settling, work.settling + work.steps);
  if (metric === "prefill_32") return short && whole(short.prefill, work.shortPrompt);
  if (metric === "decode_after_prefill") return long && steps(long.decode, 0, afterPrefillSteps);
  if (metric === "prefill_512") return long && whole(long.prefill, work.longPrompt);
  if (!long) return undefined;
  const raw = [...long.prefill.milliseconds, ...long.decode.milliseconds];
  const diskBytes = long.prefill.diskBytes + long.decode.diskBytes;
  return { tokens: work.longPrompt + work.answer, milliseconds: sum(raw), diskBytes, raw };
}

/** How much faster ours is: by time, for the work is the same. NaN when one of them is missing. */
export function speedup(ours: Sample | undefined, theirs: Sample | undefined): number {
  return ours && theirs ? theirs.milliseconds / ours.milliseconds : Number.NaN;
}

/** The rows of a run in the report: one a metric, and one of its memory. */
export function rowsOf(run: Run, name: string, round: number, work: Work): Record<string, Cell>[] {
  const { contender, usage, memory, failure } = run;
  const head = { side: contender.side, setting: contender.setting, model: name, round };
  const rows: Record<string, Cell>[] = [
    {
      ...head,
      metric: "memory",
      outcome: failure ?? "done",
      peak_mb: memory ? round3(memory.peakBytes / 1e6) : null,
      plan_mb: memory?.planBytes === undefined ? null : round3(memory.planBytes / 1e6),
      group_peak_mb: usage.peakBytes === null ? null : round3(usage.peakBytes / 1e6),
      group_anonymous_mb: round3(usage.anonymousBytes / 1e6),
      group_cache_mb: round3(usage.cacheBytes / 1e6),
    },
  ];
  for (const [part, replayed] of [
    ["prefill of the short prompt", run.short?.prefill],
    ["decode after it", run.short?.decode],
    ["prefill of the long prompt", run.long?.prefill],
    ["decode after that", run.long?.decode],
  ] as const) {
    if (replayed?.experts)
      rows.push({ ...head, metric: `reads: ${part}`, ...readsOf(replayed, replayed.experts) });
  }
  for (const metric of metrics) {
    const sample = sampleOf(run, metric, work);
    if (!sample) continue;
    rows.push({
      ...head,
      metric,
      tokens_per_s: round3((sample.tokens / sample.milliseconds) * 1000),
      disk_mb_per_token: round3(sample.diskBytes / sample.tokens / 1e6),
      ms: sample.raw.map(round3).join(" "),
    });
  }
  return rows;
}

/** How the disk and the processor were kept busy in a part of a run. */
function readsOf({ milliseconds }: ReplayPart, reads: ExpertReads): Record<string, Cell> {
  const wall = sum(milliseconds);
  return {
    stall_share: round3(reads.stallMs / wall),
    compute_share: round3(reads.computeMs / wall),
    queue_depth: reads.readMs > 0 ? round3(reads.readMsSum / reads.readMs) : null,
    read_mb: round3(reads.bytes / 1e6),
    read_mb_per_s: reads.readMs > 0 ? round3(reads.bytes / 1000 / reads.readMs) : null,
  };
}

/** Rate at which experts came while a step waited for them, bytes a second; NaN when none did. */
export function demandRate(run: Run): number {
  const reads = [run.short, run.long]
    .flatMap((replay) => (replay ? [replay.prefill, replay.decode] : []))
    .flatMap(({ experts }) => (experts ? [experts] : []));
  const bytes = sum(reads.map(({ demandBytes }) => demandBytes));
  return (bytes / sum(reads.map(({ demandMs }) => demandMs))) * 1000;
}

/** How many times the better of computing and reading alone a long prompt took; NaN when it was not measured. */
export function overBound(run: Run, bytesPerSecond: number): number {
  const prefill = run.long?.prefill;
  if (!prefill?.experts) return Number.NaN;
  const readMs = (prefill.experts.bytes / bytesPerSecond) * 1000;
  return prefill.milliseconds[0]! / Math.max(prefill.experts.computeMs, readMs);
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** The bytes of some steps are taken as their share of all: they are counted for all together. */
function steps({ milliseconds, diskBytes }: ReplayPart, from: number, to: number): Sample | undefined {
  const raw = milliseconds.slice(from, to);
  if (raw.length < to - from) return undefined;
  const share = raw.length / milliseconds.length;
  return { tokens: raw.length, milliseconds: sum(raw), diskBytes: diskBytes * share, raw };
}

function whole({ milliseconds, diskBytes }: ReplayPart, tokens: number): Sample {
  return { tokens, milliseconds: sum(milliseconds), diskBytes, raw: milliseconds };
}
