import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Goals, loadMetrics } from "./load-metrics.ts";
import type { LoadRecord } from "./load-record.ts";
import type { Summary } from "./statistics.ts";
import type { StreamFault } from "./stream-fault.ts";

function fault(kind: StreamFault["kind"], code = ""): StreamFault {
  return { kind, code, message: "m" };
}

/** A request sent at `sentAt` whose chunks came so many ms after it, one token each. */
function record(sentAt: number, chunks: readonly number[], more: Partial<LoadRecord> = {}): LoadRecord {
  const chunkTimes = chunks.map((time) => sentAt + time);
  const endedAt = chunkTimes.at(-1) ?? sentAt;
  const tokens = { inputTokens: 10, outputTokens: chunks.length, cachedTokens: 0 };
  return { dueAt: sentAt, sentAt, endedAt, chunkTimes, ...tokens, fault: undefined, ...more };
}

describe("loadMetrics", () => {
  it("of four requests, worked by hand", () => {
    const metrics = loadMetrics(
      [
        record(1000, [100, 120, 160], { cachedTokens: 4 }),
        record(2000, [300], { dueAt: 1990 }),
        record(3000, [], { fault: fault("refused", "503 overloaded"), endedAt: 3010 }),
        record(4000, [50, 60], { endedAt: 5000, outputTokens: 21 }),
      ],
      { ttft: 200, tpot: 40 },
    );
    assert.deepEqual([metrics.ended, metrics.completed, metrics.unfinished], [4, 3, 0]);
    assert.deepEqual([...metrics.faults], [["refused 503 overloaded", { count: 1, message: "m" }]]);
    assert.deepEqual([metrics.seconds, metrics.requestsPerSecond], [4, 0.75]);
    assert.deepEqual([metrics.inputTokens, metrics.outputTokens, metrics.cachedTokens], [30, 25, 4]);
    assert.deepEqual([metrics.ttft.count, metrics.ttft.mean, metrics.ttft.median], [3, 150, 100]);
    // (160 - 100) / 2 and (1000 - 50) / 20; the request of one token has none.
    assert.deepEqual([metrics.tpot.count, metrics.tpot.mean], [2, (30 + 47.5) / 2]);
    assert.deepEqual([metrics.itl.count, metrics.itl.most], [3, 40]);
    assert.deepEqual([metrics.e2e.mean, metrics.late.most], [(160 + 300 + 1000) / 3, 10]);
    assert.deepEqual(metrics.good, { count: 1, perSecond: 0.25, share: 0.25 });
  });

  it("leaves what was cut off out of everything but its count", () => {
    const whole = record(0, [10, 20]);
    const cut = record(50, [10], { fault: fault("cancelled"), endedAt: 9000 });
    const { unfinished, late, ...others } = loadMetrics([whole, cut], { e2e: 15 });
    const { unfinished: _, late: __, ...expected } = loadMetrics([whole], { e2e: 15 });
    assert.deepEqual([unfinished, late.count], [1, 2]);
    assert.deepEqual(others, expected);
  });

  it("has no goodput without goals, and measures nothing of nothing", () => {
    const { good, completed, ttft, requestsPerSecond } = loadMetrics([]);
    assert.deepEqual([good, completed, ttft.mean, requestsPerSecond], [undefined, 0, Number.NaN, Number.NaN]);
  });

  it("is what the definitions say, request by request", () => {
    const times = fc.array(fc.nat({ max: 5000 }), { minLength: 1, maxLength: 12 });
    const records = fc.array(
      fc.tuple(fc.nat({ max: 10_000 }), times, fc.boolean()).map(([sentAt, chunks, fails]) => {
        const inOrder = [...chunks].sort((a, b) => a - b);
        return record(sentAt, inOrder, fails ? { fault: fault("broken") } : {});
      }),
      { minLength: 1, maxLength: 20 },
    );
    const goals = fc.record({ ttft: fc.nat(5000), tpot: fc.nat(2000), e2e: fc.nat(5000) });
    fc.assert(fc.property(records, goals, checkAgainstDefinitions));
  });
});

/** TTFT, TPOT, ITL, E2E and goodput, each by its own loop. */
function checkAgainstDefinitions(records: readonly LoadRecord[], goals: Required<Goals>): void {
  const [ttft, tpot, itl, e2e]: number[][] = [[], [], [], []];
  let good = 0;
  for (const { sentAt, chunkTimes, fault: failure } of records) {
    if (failure) continue;
    const first = chunkTimes[0]! - sentAt;
    const whole = chunkTimes[chunkTimes.length - 1]! - sentAt;
    const perToken = (whole - first) / (chunkTimes.length - 1);
    ttft!.push(first);
    e2e!.push(whole);
    if (chunkTimes.length > 1) tpot!.push(perToken);
    for (let chunk = 1; chunk < chunkTimes.length; chunk++)
      itl!.push(chunkTimes[chunk]! - chunkTimes[chunk - 1]!);
    const fits = chunkTimes.length === 1 || perToken <= goals.tpot;
    if (first <= goals.ttft && fits && whole <= goals.e2e) good += 1;
  }
  const metrics = loadMetrics(records, goals);
  same(metrics.ttft, ttft!);
  same(metrics.tpot, tpot!);
  same(metrics.itl, itl!);
  same(metrics.e2e, e2e!);
  assert.equal(metrics.good!.count, good);
  assert.equal(metrics.ended, records.length);
}

/** The percentile p is the value at the place p * (n - 1), counted from 0, in the sorted list; between two, in proportion. */
function same(found: Summary, values: number[]): void {
  assert.equal(found.count, values.length);
  if (values.length === 0) return;
  values.sort((a, b) => a - b);
  const at = (percent: number) => {
    const hundredths = percent * (values.length - 1);
    const rest = hundredths % 100;
    const below = values[(hundredths - rest) / 100]!;
    return rest === 0 ? below : (below * (100 - rest) + values[(hundredths - rest) / 100 + 1]! * rest) / 100;
  };
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  for (const [number, expected] of [
    [found.mean, mean],
    [found.median, at(50)],
    [found.p90, at(90)],
    [found.p99, at(99)],
    [found.most, values[values.length - 1]!],
  ] as const)
    assert.ok(Math.abs(number - expected) < 1e-6, `${number} against ${expected}`);
}
