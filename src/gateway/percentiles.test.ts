import assert from "node:assert/strict";
import { test } from "node:test";
import { RecentValues } from "./percentiles.ts";

test("percentiles are of the latest values, by the nearest rank", () => {
  const values = new RecentValues(100);
  assert.equal(values.summary(), null);
  values.add(7);
  assert.deepEqual(values.summary(), { p50: 7, p90: 7, p99: 7, count: 1 });
  for (let value = 1000; value > 0; value--) values.add(value);
  assert.deepEqual(values.summary(), { p50: 50, p90: 90, p99: 99, count: 100 });
});
