import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadPlots } from "./load-plots.ts";
import type { LoadRecord } from "./load-record.ts";
import { plotHtml } from "./plot.ts";

/** A request whose first chunk came 100 ms after it was sent, and 4 more each 10 ms later. */
function record(sentAt: number): LoadRecord {
  const chunkTimes = [0, 10, 20, 30, 40].map((time) => sentAt + 100 + time);
  const counts = { inputTokens: 5, outputTokens: 5, cachedTokens: 0 };
  return { dueAt: sentAt, sentAt, endedAt: sentAt + 140, chunkTimes, ...counts, fault: undefined };
}

describe("loadPlots", () => {
  it("shows shares, courses and requests under way", () => {
    const plots = loadPlots([0, 100, 200, 5860].map(record));
    const [whole, gaps, first, itl, underWay] = plots.map(({ series }) => series.map(({ points }) => points));
    assert.deepEqual(whole![0]!.at(-1), [100, 1]);
    assert.deepEqual(whole![1]!.at(0), [140, 0]);
    assert.deepEqual(
      gaps!.map((points) => points.at(-1)),
      [
        [10, 1],
        [10, 1],
      ],
    );
    assert.ok(first!.flat().every(([, value]) => value === 100));
    assert.ok(itl!.flat().every(([time, value]) => value === 10 && time < 6));
    assert.deepEqual(
      underWay![0]!.slice(0, 4).map(([, count]) => count),
      [1, 2, 2, 1],
    );
    assert.equal(underWay![0]!.at(-1)![1], 0);
  });

  it("draws nothing of nothing", () => {
    for (const plot of loadPlots([])) assert.doesNotMatch(plotHtml(plot), /NaN|Infinity/);
  });
});
