import assert from "node:assert/strict";
import { test } from "node:test";
import { WholeSequences } from "./whole.ts";

test("sequences come whole, in the order of their arrival, as many as fit into a step", () => {
  const policy = new WholeSequences();
  const running = [
    { id: 2, arrived: 5, pending: 40 },
    { id: 1, arrived: 4, pending: 50 },
    { id: 3, arrived: 6, pending: 20 },
    { id: 4, arrived: 7, pending: 5 },
  ];
  const plan = (tokens: number) => policy.plan(0, running, { tokens }).map(({ id, tokens }) => [id, tokens]);
  assert.deepEqual(plan(200), [
    [1, 50],
    [2, 40],
    [3, 20],
    [4, 5],
  ]);
  // The fourth would fit, and waits for its turn.
  assert.deepEqual(plan(96), [
    [1, 50],
    [2, 40],
  ]);
  assert.deepEqual(plan(50), [[1, 50]]);
});
