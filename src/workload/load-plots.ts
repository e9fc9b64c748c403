import { chunkGaps, firstTokenMs, type LoadRecord, tokenMs, wholeMs } from "./load-record.ts";
import type { Plot, Series } from "./plot.ts";
import { quantile } from "./statistics.ts";

/** Points of a curve, at most about so many: more could not be told apart. */
const pointCount = 60;

/** The curves of a load measurement: how latencies are spread, how they went, and how many requests were under way. */
export function loadPlots(records: readonly LoadRecord[]): Plot[] {
  const completed = records.filter(({ fault }) => fault === undefined);
  const seconds = "s since the start";
  return [
    sharesPlot("Time to first token, and whole time", [
      distribution("TTFT", completed.map(firstTokenMs)),
      distribution("E2E", completed.map(wholeMs)),
    ]),
    sharesPlot("Time per token after the first, and gaps between chunks", [
      distribution("TPOT", completed.map(tokenMs)),
      distribution("ITL", completed.flatMap(chunkGaps)),
    ]),
    {
      title: "Time to first token, by the time of sending",
      xLabel: seconds,
      yLabel: "ms",
      series: courses(completed.map((record) => [record.sentAt, firstTokenMs(record)])),
    },
    {
      title: "Gaps between chunks, by the time of the later one",
      xLabel: seconds,
      yLabel: "ms",
      series: courses(
        completed.flatMap((record) =>
          chunkGaps(record).map((gap, index) => [record.chunkTimes[index + 1]!, gap] as const),
        ),
      ),
    },
    {
      title: "Requests under way",
      xLabel: seconds,
      yLabel: "requests",
      series: [{ name: "sent and not ended", points: underWay(records) }],
    },
  ];
}

function sharesPlot(title: string, series: readonly Series[]): Plot {
  return { title, xLabel: "ms", yLabel: "share of requests or gaps at most that long", series };
}

function distribution(name: string, values: readonly number[]): Series {
  const sorted = Float64Array.from(values.filter((value) => !Number.isNaN(value))).sort();
  if (sorted.length === 0) return { name, points: [] };
  const shares = Array.from({ length: pointCount + 1 }, (_, index) => index / pointCount);
  return { name, points: shares.map((share) => [quantile(sorted, share), share]) };
}

/** Median and 99th percentile of values over time, for equal spans of time. Times are ms, those of the points s. */
function courses(samples: readonly (readonly [time: number, value: number])[]): Series[] {
  const spans = spansOf(samples.filter(([, value]) => !Number.isNaN(value)));
  return [
    { name: "median", points: spans.map(({ time, sorted }) => [time, quantile(sorted, 0.5)]) },
    { name: "p99", points: spans.map(({ time, sorted }) => [time, quantile(sorted, 0.99)]) },
  ];
}

/** The samples of each span of time that has any; `time` is the middle of the span, s. */
function spansOf(samples: readonly (readonly [number, number])[]): { time: number; sorted: number[] }[] {
  const end = samples.reduce((most, [time]) => Math.max(most, time), 0);
  const span = end / pointCount || 1;
  const values: number[][] = Array.from({ length: pointCount }, () => []);
  for (const [time, value] of samples) values[Math.min(pointCount - 1, Math.floor(time / span))]!.push(value);
  return values
    .map((found, index) => ({ time: ((index + 0.5) * span) / 1000, sorted: found.sort((a, b) => a - b) }))
    .filter(({ sorted }) => sorted.length > 0);
}

/** How many requests had been sent and had not ended, at equal distances of time. */
function underWay(records: readonly LoadRecord[]): [number, number][] {
  const end = records.reduce((most, { endedAt }) => Math.max(most, endedAt), 0);
  return Array.from({ length: pointCount + 1 }, (_, index) => {
    const time = (index * end) / pointCount;
    const count = records.filter(({ sentAt, endedAt }) => sentAt <= time && endedAt > time).length;
    return [time / 1000, count];
  });
}
