import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { assertSameGreedy, collect } from "../../test/collect.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { type LoadedModel, loadEngine } from "./load.ts";
import type { SequenceRequest } from "./sequence.ts";

describe("pausing", { skip: withoutSample }, () => {
  let model: LoadedModel;
  let long: number[];
  before(async () => {
    model = await loadEngine(samplePath, { threads: 1, maxSequences: 2 });
    await model.engine.settled;
    const text = "The captain looked at the sea, and the sea looked at him. ".repeat(50);
    long = [...model.tokenizer.encode(text, { addSpecial: true, parseSpecial: false })].slice(0, 400);
  });
  after(() => model?.dispose());
  beforeEach(() => model.engine.clearCache());

  const sampling = { temperature: 0, logprobs: 2 };
  const submit = (prompt: readonly number[], maxTokens: number, more: Partial<SequenceRequest> = {}) =>
    model.engine.submit({ prompt, maxTokens, ignoreEnd: true, sampling, ...more });
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
  const idle = () => ({ waiting: 0, running: 0, paused: 0, freeCells: model.plan.kvCells });

  async function untilPaused(count: number): Promise<void> {
    while (model.engine.load.paused < count) await nextTurn();
  }

  test("a paused sequence holds nothing, and goes on with the same tokens", async () => {
    const alone = await collect(submit(long.slice(0, 20), 60));
    model.engine.clearCache();
    const sequence = submit(long.slice(0, 20), 60);
    const reading = collect(sequence, (count) => count === 10 && sequence.pause());
    await untilPaused(1);
    assert.deepEqual(model.engine.load, { ...idle(), paused: 1 });
    const { total } = model.engine.records;
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    assert.equal(model.engine.records.total, total, "nothing is computed for it");
    sequence.resume();
    assertSameGreedy(await reading, alone, 0.08);
    await nextTurn();
    assert.deepEqual(model.engine.load, idle());
  });

  test("its place is another's", async () => {
    const slow = [submit(long.slice(0, 20), 300), submit(long.slice(5, 25), 300)];
    const reading = slow.map((sequence) => collect(sequence, (count) => count === 2 && sequence.pause()));
    await untilPaused(2);
    const others = [submit(long.slice(10, 30), 20), submit(long.slice(15, 35), 20)];
    for (const other of others) assert.equal((await collect(other)).events.length, 20);
    for (const sequence of slow) sequence.resume();
    for (const result of reading) assert.equal((await result).events.length, 300);
  });

  test("it starts once, and is told how much was there", async () => {
    await collect(submit(long.slice(0, 50), 4));
    const starts: number[] = [];
    const sequence = submit(long.slice(0, 50), 40, { onStart: (cached) => starts.push(cached) });
    const reading = collect(sequence, (count) => count === 5 && sequence.pause());
    await untilPaused(1);
    sequence.resume();
    const { finish } = await reading;
    assert.deepEqual(starts, [49]);
    assert.equal(finish.cachedTokens, 49);
    assert.equal(finish.generatedTokens, 40);
  });

  test("paused in the queue, it starts when it is resumed", async () => {
    const running = [collect(submit(long.slice(0, 20), 40)), collect(submit(long.slice(3, 23), 40))];
    const waiting = submit(long.slice(6, 26), 3);
    const reading = collect(waiting);
    waiting.pause();
    await Promise.all(running);
    await untilPaused(1);
    waiting.resume();
    assert.equal((await reading).events.length, 3);
  });

  test("cancelled while it is paused, it ends at once", async () => {
    const sequence = submit(long.slice(0, 20), 300);
    const reading = collect(sequence, (count) => count === 2 && sequence.pause());
    await untilPaused(1);
    sequence.cancel();
    assert.equal((await reading).finish.reason, "cancelled");
    assert.deepEqual(model.engine.load, idle());
    sequence.resume();
    await nextTurn();
    assert.deepEqual(model.engine.load, idle());
  });
});
