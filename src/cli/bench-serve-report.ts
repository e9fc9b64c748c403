import { type Goals, type LoadMetrics, loadMetrics } from "../workload/load-metrics.ts";
import type { LoadRecord } from "../workload/load-record.ts";
import { machineInfo } from "../workload/machine.ts";
import { type Cell, check, type Report } from "../workload/report.ts";
import type { Summary } from "../workload/statistics.ts";

/** The share of requests that have to meet the goals, as the field measures goodput. */
const goodShare = 0.9;

/** The report on a load: rows of counts with their rates, then rows of latencies. */
export function serveReport(
  records: readonly LoadRecord[],
  settings: Report["settings"],
  goals: Goals = {},
): Report {
  const metrics = loadMetrics(records, goals);
  const { completed, ended, good } = metrics;
  const checks = [check("completed", completed / ended, "of all", "==", 1)];
  if (good) checks.push(check("goodput", good.share, "of all", ">=", goodShare));
  return {
    machine: machineInfo(),
    settings,
    results: [...countRows(metrics), ...latencyRows(metrics)],
    checks,
  };
}

type Row = Readonly<Record<string, Cell>>;

function countRows(metrics: LoadMetrics): Row[] {
  const rate = (measure: string, total: number, perSecond: number) => ({
    measure,
    count: total,
    per_s: known(perSecond),
  });
  const { good, unfinished, cachedTokens } = metrics;
  return [
    rate("completed", metrics.completed, metrics.requestsPerSecond),
    ...(good ? [rate("good", good.count, good.perSecond)] : []),
    ...[...metrics.faults].map(([name, { count, message }]) => ({
      measure: name,
      count,
      first_message: message.slice(0, 100),
    })),
    ...(unfinished > 0 ? [{ measure: "unfinished", count: unfinished }] : []),
    rate("input tokens", metrics.inputTokens, metrics.inputTokensPerSecond),
    ...(cachedTokens > 0 ? [{ measure: "input tokens cached", count: cachedTokens }] : []),
    rate("output tokens", metrics.outputTokens, metrics.outputTokensPerSecond),
  ];
}

function latencyRows({ ttft, tpot, itl, e2e, late }: LoadMetrics): Row[] {
  return [
    latencyRow("ttft_ms", ttft),
    latencyRow("tpot_ms", tpot),
    latencyRow("itl_ms", itl),
    latencyRow("e2e_ms", e2e),
    // Without times that are given, nothing can be late.
    ...(late.most > 0 ? [latencyRow("sent_late_ms", late)] : []),
  ];
}

function latencyRow(measure: string, { count, mean, median, p90, p99, most }: Summary): Row {
  const values = Object.entries({ mean, median, p90, p99, max: most });
  return { measure, count, ...Object.fromEntries(values.map(([name, value]) => [name, known(value)])) };
}

function known(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
