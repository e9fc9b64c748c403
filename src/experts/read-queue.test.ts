import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadCancelled, ReadQueue } from "./read-queue.ts";

/** Reads that end when they are told to, in the order in which they began. */
function reads() {
  const began: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const read = (name: string) => () => {
    began.push(name);
    return new Promise<void>((resolve, reject) => {
      ends.set(name, (error) => (error ? reject(error) : resolve()));
    });
  };
  const end = async (name: string, error?: Error) => {
    ends.get(name)!(error);
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  };
  return { began, read, end };
}

test("no more are in flight than allowed, and demands go before prefetches", async () => {
  const queue = new ReadQueue(2);
  const { began, read, end } = reads();
  queue.push("prefetch", read("p1"));
  queue.push("prefetch", read("p2"));
  queue.push("prefetch", read("p3"));
  queue.push("demand", read("d1"));
  assert.deepEqual(began, ["p1", "p2"]);
  assert.deepEqual([queue.inFlight, queue.waiting], [2, { demand: 1, prefetch: 1 }]);
  await end("p1");
  assert.deepEqual(began, ["p1", "p2", "d1"]);
  await end("p2");
  assert.deepEqual(began, ["p1", "p2", "d1", "p3"]);
});

test("a prefetch that is waited for goes before the others", async () => {
  const queue = new ReadQueue(1);
  const { began, read, end } = reads();
  queue.push("prefetch", read("p1"));
  queue.push("prefetch", read("p2"));
  const third = queue.push("prefetch", read("p3"));
  third.promote();
  await end("p1");
  assert.deepEqual(began, ["p1", "p3"]);
  await end("p3");
  await third.done;
});

test("what has not begun can be cancelled, what has begun cannot", async () => {
  const queue = new ReadQueue(1);
  const { began, read, end } = reads();
  const first = queue.push("demand", read("d1"));
  const second = queue.push("prefetch", read("p1"));
  assert.equal(first.cancel(), false);
  assert.equal(second.cancel(), true);
  await assert.rejects(second.done, ReadCancelled);
  await end("d1");
  await first.done;
  assert.deepEqual(began, ["d1"]);
});

test("a failed read fails alone", async () => {
  const queue = new ReadQueue(1);
  const { began, read, end } = reads();
  const first = queue.push("demand", read("d1"));
  const second = queue.push("demand", read("d2"));
  await end("d1", new Error("bad sector"));
  await assert.rejects(first.done, /bad sector/);
  assert.deepEqual(began, ["d1", "d2"]);
  const settled = queue.settled();
  await end("d2");
  await second.done;
  await settled;
  assert.equal(queue.inFlight, 0);
});
