import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { LoadRecord } from "./load-record.ts";
import type { Send } from "./load-request.ts";
import { type LoadPlan, runLoad } from "./load-run.ts";

/** Runs a plan against a server that answers each request after `answerMs`. */
async function run(plan: Omit<LoadPlan, "requests"> & { times: readonly number[] }, answerMs: number) {
  const origin = performance.now();
  const abort = new AbortController();
  const indices: number[] = [];
  let running = 0;
  let most = 0;
  const prepare = (_: unknown, index: number): Send => {
    return async (_signal, dueAt) => {
      indices.push(index);
      const sentAt = performance.now() - origin;
      most = Math.max(most, ++running);
      await wait(answerMs);
      running -= 1;
      return { dueAt, sentAt, endedAt: performance.now() - origin } as LoadRecord;
    };
  };
  const requests = plan.times.map((at) => ({ at, inputTokens: 1, outputTokens: 1 }));
  const ended: LoadRecord[] = [];
  const onEnd = (record: LoadRecord) => {
    ended.push(record);
    if (ended.length === 5) abort.abort();
  };
  const records = await runLoad({ ...plan, requests }, { origin, signal: abort.signal, prepare, onEnd });
  assert.equal(ended.length, records.length);
  return { records, indices, most };
}

describe("runLoad", () => {
  it("sends each request when it is due, whatever the server does", async () => {
    const { records, most } = await run({ times: [0, 20, 20, 60] }, 200);
    assert.deepEqual(
      records.map(({ dueAt }) => dueAt),
      [0, 20, 20, 60],
    );
    assert.ok(records.every(({ dueAt, sentAt }) => sentAt >= dueAt));
    assert.equal(most, 4);
  });

  it("sends a request when another has ended", async () => {
    const { records, indices, most } = await run({ times: [0, 0, 0, 0], concurrency: 2 }, 10);
    assert.deepEqual([records.length, indices, most], [4, [0, 1, 2, 3], 2]);
  });

  it("sends no more when the time is over, and awaits those under way", async () => {
    const open = await run({ times: [0, 10, 5000], durationMs: 1000 }, 50);
    assert.equal(open.records.length, 2);
    const closed = await run({ times: Array(1000).fill(0), concurrency: 1, durationMs: 100 }, 60);
    assert.ok(closed.records.length >= 1 && closed.records.length <= 2, String(closed.records.length));
  });

  it("sends no more after it was told to end", async () => {
    const open = await run({ times: [0, 0, 0, 0, 0, 60_000] }, 10);
    assert.equal(open.records.length, 5);
    const closed = await run({ times: Array(100).fill(0), concurrency: 1 }, 1);
    assert.equal(closed.records.length, 5);
  });
});
