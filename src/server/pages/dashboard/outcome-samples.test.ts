import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { OutcomeSamples } from "./outcome-samples.ts";

const totals = (misses: number, useful: number, late: number, wasted: number) => ({
  hits: 100,
  misses,
  late,
  read_bytes: 0,
  stall_ms: 0,
  prefetch_useful: useful,
  prefetch_wasted: wasted,
});

describe("OutcomeSamples", () => {
  it("tells experts a second", () => {
    const samples = new OutcomeSamples();
    samples.push(1000, totals(5, 5, 5, 5));
    samples.push(3000, totals(15, 9, 5, 6));
    assert.deepEqual(samples.all, [
      { time: 1000, useful: null, late: null, wasted: null, missed: null },
      { time: 3000, useful: 2, late: 0, wasted: 0.5, missed: 5 },
    ]);
  });

  it("begins at 0 with an engine that was started again", () => {
    const samples = new OutcomeSamples();
    samples.push(1000, totals(50, 50, 50, 50));
    samples.push(2000, totals(3, 2, 1, 0));
    assert.deepEqual(samples.all.at(-1), { time: 2000, useful: 2, late: 1, wasted: 0, missed: 3 });
  });
});
