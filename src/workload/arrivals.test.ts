import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Arrivals, arrivalTimes } from "./arrivals.ts";
import { Random } from "./random.ts";

function times(arrivals: Arrivals, count: number, seed = 1): number[] {
  const source = arrivalTimes(arrivals, new Random(seed));
  return Array.from({ length: count }, () => source.next().value);
}

/** Mean of the gaps, ms, and their deviation over it. */
function gapsOf(times: readonly number[]): { mean: number; variation: number } {
  const gaps = times.slice(1).map((time, index) => time - times[index]!);
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
  return { mean, variation: Math.sqrt(variance) / mean };
}

describe("arrivalTimes", () => {
  it("at a constant rate", () => {
    assert.deepEqual(times({ kind: "constant", rate: 4 }, 4), [0, 250, 500, 750]);
  });

  for (const [arrivals, variation] of [
    [{ kind: "poisson", rate: 20 }, 1],
    [{ kind: "gamma", rate: 20, variation: 0.5 }, 0.5],
    [{ kind: "gamma", rate: 20, variation: 1 }, 1],
    [{ kind: "gamma", rate: 20, variation: 3 }, 3],
  ] as const) {
    it(`has the mean and the variation that were asked for: ${JSON.stringify(arrivals)}`, () => {
      const drawn = times(arrivals, 100_000);
      const found = gapsOf(drawn);
      assert.ok(Math.abs(found.mean / 50 - 1) < 0.05, `mean ${found.mean}`);
      assert.ok(Math.abs(found.variation / variation - 1) < 0.08, `variation ${found.variation}`);
      assert.ok(drawn.every((time, index) => index === 0 || time >= drawn[index - 1]!));
    });
  }

  it("comes again with the same seed alone", () => {
    const arrivals = { kind: "gamma", rate: 5, variation: 2 } as const;
    assert.deepEqual(times(arrivals, 50, 7), times(arrivals, 50, 7));
    assert.notDeepEqual(times(arrivals, 50, 7), times(arrivals, 50, 8));
  });
});

describe("Random", () => {
  it("draws whole numbers evenly, the bounds included", () => {
    const counts = [0, 0, 0, 0];
    const random = new Random(3);
    for (let draw = 0; draw < 40_000; draw++) counts[random.integer(5, 8) - 5]! += 1;
    assert.ok(
      counts.every((count) => Math.abs(count - 10_000) < 500),
      String(counts),
    );
  });

  it("is unrelated between neighbouring seeds", () => {
    const firsts = Array.from({ length: 10_000 }, (_, seed) => new Random(1, seed).next());
    const mean = firsts.reduce((sum, value) => sum + value, 0) / firsts.length;
    const products = firsts.slice(1).map((value, index) => (value - mean) * (firsts[index]! - mean));
    const covariance = products.reduce((sum, value) => sum + value, 0) / products.length;
    assert.ok(Math.abs(mean - 0.5) < 0.02 && Math.abs(covariance) < 0.005, `${mean} ${covariance}`);
    assert.equal(new Set(firsts).size, firsts.length);
  });
});
