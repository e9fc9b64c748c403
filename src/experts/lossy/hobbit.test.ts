import assert from "node:assert/strict";
import { test } from "node:test";
import { Hobbit } from "./hobbit.ts";
import type { Presence } from "./mode.ts";

const nothing: Presence = { full: () => false, low: () => false };
const choice = { layer: 2, experts: [0, 1, 2, 3], shares: Float32Array.of(0.5, 0.3, 0.15, 0.05) };

test("a missing expert's share says how it is read", () => {
  const hobbit = new Hobbit({ full: 0.3, skip: 0.1 }, 4);
  assert.deepEqual(hobbit.divide(choice, nothing), { full: [0, 1], low: [2], skipped: [3] });
});

test("what is there is used as it is", () => {
  const hobbit = new Hobbit({ full: 0.4, skip: 0.2 }, 4);
  const presence: Presence = {
    full: (layer, expert) => layer === 2 && expert === 3,
    low: (layer, expert) => layer === 2 && (expert === 2 || expert === 3),
  };
  assert.deepEqual(hobbit.divide(choice, presence), { full: [0, 3], low: [1, 2], skipped: [] });
});

test("a low-precision copy is no reason not to read an expert that matters", () => {
  const hobbit = new Hobbit({ full: 0.4, skip: 0.2 }, 4);
  const presence: Presence = { full: () => false, low: () => true };
  assert.deepEqual(hobbit.divide(choice, presence), { full: [0], low: [1, 2, 3], skipped: [] });
});

test("thresholds of zero read everything, and so do long steps", () => {
  const { experts } = choice;
  const all = { full: experts, low: [], skipped: [] };
  assert.deepEqual(new Hobbit({ full: 0, skip: 0 }, 4).divide(choice, nothing), all);
  assert.deepEqual(
    new Hobbit({ full: 1, skip: 1 }, 4).divide({ ...choice, shares: undefined }, nothing),
    all,
  );
});
