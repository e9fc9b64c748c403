import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chooseLow, EdgeMoe, type ExpertCost } from "./edgemoe.ts";

const costs = fc.array(
  fc.record({
    lowBytes: fc.integer({ min: 1, max: 20 }),
    more: fc.integer({ min: 1, max: 20 }),
    sensitivity: fc.integer({ min: 0, max: 50 }),
  }),
  { minLength: 1, maxLength: 8 },
);

function costsOf(all: readonly { lowBytes: number; more: number; sensitivity: number }[]): ExpertCost[] {
  return all.map(({ lowBytes, more, sensitivity }, index) => {
    const [layer, expert] = [Math.floor(index / 4), index % 4];
    return { layer, expert, lowBytes, fullBytes: lowBytes + more, sensitivity };
  });
}

function outcome(all: readonly ExpertCost[], low: readonly (readonly boolean[])[]) {
  const mine = all.map((cost) => ({ ...cost, low: low[cost.layer]![cost.expert]! }));
  return {
    bytes: mine.reduce((sum, { low, lowBytes, fullBytes }) => sum + (low ? lowBytes : fullBytes), 0),
    lost: mine.reduce((sum, { low, sensitivity }) => sum + (low ? sensitivity : 0), 0),
  };
}

/** The least that can be lost within a budget, of all choices. */
function leastLost(all: readonly ExpertCost[], budget: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let choice = 0; choice < 2 ** all.length; choice++) {
    let [bytes, lost] = [0, 0];
    for (const [index, { lowBytes, fullBytes, sensitivity }] of all.entries()) {
      const low = (choice >> index) & 1;
      bytes += low ? lowBytes : fullBytes;
      lost += low ? sensitivity : 0;
    }
    if (bytes <= budget) least = Math.min(least, lost);
  }
  return least;
}

test("keeps within the budget, and loses no more than the best choice and one expert", () => {
  fc.assert(
    fc.property(costs, fc.integer({ min: 1, max: 320 }), (drawn, budget) => {
      const all = costsOf(drawn);
      const low = chooseLow(all, budget);
      const least = leastLost(all, budget);
      if (!low) return assert.equal(least, Number.POSITIVE_INFINITY);
      const { bytes, lost } = outcome(all, low);
      assert.ok(bytes <= budget);
      // By worth for each byte, what does not fit whole is all that a choice can lose against the best.
      assert.ok(lost <= least + Math.max(...all.map(({ sensitivity }) => sensitivity)));
    }),
  );
});

test("a budget for all in full precision leaves nothing low", () => {
  const all = costsOf([
    { lowBytes: 2, more: 3, sensitivity: 0 },
    { lowBytes: 4, more: 5, sensitivity: 7 },
  ]);
  assert.deepEqual(chooseLow(all, 14), [[false, false]]);
  assert.deepEqual(chooseLow(all, 13), [[true, false]]);
  assert.deepEqual(chooseLow(all, 6), [[true, true]]);
  assert.equal(chooseLow(all, 5), undefined);
});

test("every expert has its precision, in steps of any length", () => {
  const mode = new EdgeMoe([undefined, [true, false, true, false]]);
  const shares = Float32Array.of(1, 0, 0, 0);
  for (const given of [shares, undefined]) {
    assert.deepEqual(mode.divide({ layer: 1, experts: [0, 1, 3], shares: given }), {
      full: [1, 3],
      low: [0],
      skipped: [],
    });
  }
  assert.deepEqual([mode.ahead(1, "full"), mode.ahead(1, "low"), mode.ahead(0, "low")], [[1, 3], [0, 2], []]);
  assert.equal(mode.says, "2 of 4 experts are low");
});
