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

test("no more are in flight than allowed, and demands go before what is read ahead", async () => {
  const { began, read, end } = reads();
  const ahead = ["p1", "p2", "p3"];
  const queue = new ReadQueue(2, () => {
    const next = ahead.shift();
    return next === undefined ? undefined : read(next);
  });
  queue.start();
  queue.push(read("d1"));
  assert.deepEqual(began, ["p1", "p2"]);
  assert.deepEqual([queue.inFlight, queue.waiting], [2, 1]);
  await end("p1");
  assert.deepEqual(began, ["p1", "p2", "d1"]);
  await end("p2");
  assert.deepEqual(began, ["p1", "p2", "d1", "p3"]);
});

test("what has not begun can be cancelled, what has begun cannot", async () => {
  const queue = new ReadQueue(1);
  const { began, read, end } = reads();
  const first = queue.push(read("d1"));
  const second = queue.push(read("d2"));
  assert.equal(first.cancel(), false);
  assert.equal(second.cancel(), true);
  await assert.rejects(second.done, ReadCancelled);
  await end("d1");
  await first.done;
  assert.deepEqual(began, ["d1"]);
});

test("a failed read fails alone, and one that was read ahead fails nobody", async () => {
  const { began, read, end } = reads();
  const ahead = ["p1"];
  const queue = new ReadQueue(1, () => {
    const next = ahead.shift();
    return next === undefined ? undefined : read(next);
  });
  queue.start();
  const first = queue.push(read("d1"));
  const second = queue.push(read("d2"));
  await end("p1", new Error("bad sector"));
  await end("d1", new Error("bad sector"));
  await assert.rejects(first.done, /bad sector/);
  assert.deepEqual(began, ["p1", "d1", "d2"]);
  await end("d2");
  await second.done;
  assert.equal(queue.inFlight, 0);
});

test("closing drops what waits, and waits for what runs", async () => {
  const { began, read, end } = reads();
  const queue = new ReadQueue(1, () => read("p"));
  const first = queue.push(read("d1"));
  const second = queue.push(read("d2"));
  const closed = queue.close();
  await assert.rejects(second.done, ReadCancelled);
  await end("d1");
  await Promise.all([first.done, closed]);
  queue.start();
  assert.deepEqual(began, ["d1"]);
});
