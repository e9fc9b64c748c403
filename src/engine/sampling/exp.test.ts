import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { expNegative } from "./exp.ts";

test("exp(-d) agrees with Math.exp to 2e-14 up to 60, and to 2e-13 wherever it is not 0", () => {
  const near = (error: number) => (d: number) => Math.abs(expNegative(d) / Math.exp(-d) - 1) < error;
  const upTo = (max: number) => fc.double({ min: 0, max, noNaN: true });
  fc.assert(fc.property(upTo(1), near(2e-14)), { numRuns: 5_000 });
  fc.assert(fc.property(upTo(60), near(2e-14)), { numRuns: 20_000 });
  fc.assert(fc.property(upTo(699.999), near(2e-13)), { numRuns: 20_000 });
  // fast-check prefers small doubles; a plain grid reaches every table entry.
  for (let i = 0; i < 100_000; i++) assert.ok(near(2e-14)(i * 6e-4));
});

test("exp(-0) is exactly 1, and the far end is 0", () => {
  assert.equal(expNegative(0), 1);
  assert.ok(expNegative(699.999) > 0);
  assert.equal(expNegative(700), 0);
  assert.equal(expNegative(Infinity), 0);
});
