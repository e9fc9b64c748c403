import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Collected, collect } from "../../test/collect.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { type LoadedModel, loadEngine } from "./load.ts";
import type { Sequence } from "./sequence.ts";

describe("cancellation", { skip: withoutSample }, () => {
  let model: LoadedModel;
  let long: number[];
  before(async () => {
    model = await loadEngine(samplePath, { threads: 1, maxSequences: 2 });
    await model.engine.settled;
    const text = "The captain looked at the sea, and the sea looked at him. ".repeat(50);
    long = [...model.tokenizer.encode(text, { addSpecial: true, parseSpecial: false })].slice(0, 500);
  });
  after(() => model?.dispose());

  const sampling = { temperature: 0, logprobs: 2 };
  const submit = (prompt: readonly number[], maxTokens = 400) =>
    model.engine.submit({ prompt, maxTokens, ignoreEnd: true, sampling });
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

  /** Cancels and reads to the end. @returns how many steps began or went on until then */
  async function cancelled(sequence: Sequence, reading: Promise<Collected>): Promise<number> {
    const { total } = model.engine.records;
    sequence.cancel();
    const { finish } = await reading;
    const steps = model.engine.records.total - total;
    assert.equal(finish.reason, "cancelled");
    return steps;
  }

  function checkIdle(): void {
    assert.deepEqual(model.engine.load, { waiting: 0, running: 0, paused: 0, freeCells: model.plan.kvCells });
  }

  test("before anything began", async () => {
    const sequence = submit(long.slice(0, 10));
    assert.equal(await cancelled(sequence, collect(sequence)), 0);
    await nextTurn();
    checkIdle();
  });

  test("in decoding, within one step; the neighbour goes on as if nothing was", async () => {
    const alone = await collect(submit(long.slice(0, 20), 60));
    model.engine.clearCache();
    const neighbour = collect(submit(long.slice(0, 20), 60));
    const sequence = submit(long.slice(5, 25));
    let steps: Promise<number> | undefined;
    const reading: Promise<Collected> = collect(sequence, (count) => {
      if (count === 10) steps = cancelled(sequence, reading);
    });
    const { events } = await reading;
    assert.ok(events.length <= 11);
    assert.ok((await steps!) <= 1);
    const result = await neighbour;
    assert.equal(result.finish.reason, "length");
    assert.deepEqual(result.events, alone.events);
    checkIdle();
  });

  test("in the queue, within one step", async () => {
    const first = collect(submit(long.slice(0, 20), 40));
    const second = collect(submit(long.slice(3, 20), 40));
    const waiting = submit(long.slice(6, 20));
    let steps: Promise<number> | undefined;
    const reading = collect(waiting);
    const third = collect(submit(long.slice(9, 20), 5), (count) => {
      assert.ok(steps && count > 0);
    });
    while (model.engine.load.running < 2) await nextTurn();
    assert.equal(model.engine.load.waiting, 2);
    steps = cancelled(waiting, reading);
    assert.ok((await steps) <= 1);
    assert.equal((await reading).finish.generatedTokens, 0);
    for (const result of [first, second, third]) assert.equal((await result).finish.reason, "length");
    checkIdle();
  });

  test("in a long prefill, well before its end; the next request is not touched", async () => {
    model.engine.clearCache();
    const started = performance.now();
    const expected = await collect(submit(long, 2));
    const whole = performance.now() - started;
    model.engine.clearCache();

    const sequence = submit(long, 2);
    const reading = collect(sequence);
    await new Promise((resolve) => setTimeout(resolve, whole / 8));
    assert.equal(model.engine.load.running, 1);
    const asked = performance.now();
    assert.equal(await cancelled(sequence, reading), 0, "the step was dropped");
    const took = performance.now() - asked;
    assert.ok(took < whole / 4, `cancelled in ${took} ms; the prefill takes ${whole} ms`);
    await nextTurn();
    checkIdle();

    const next = await collect(submit(long, 2));
    assert.deepEqual(next.events, expected.events);
  });

  test("a prefill that somebody else's tokens share is not dropped", async () => {
    model.engine.clearCache();
    const sequence = submit(long.slice(0, 200));
    const other = collect(submit(long.slice(100, 300), 3));
    const reading = collect(sequence);
    while (model.engine.load.running < 2) await nextTurn();
    assert.ok((await cancelled(sequence, reading)) <= 1);
    assert.equal((await other).finish.reason, "length");
    checkIdle();
  });

  test("twice, and after the end, does nothing", async () => {
    const sequence = submit(long.slice(0, 10), 3);
    assert.equal((await collect(sequence)).finish.reason, "length");
    sequence.cancel();
    sequence.cancel();
    assert.equal((await collect(submit(long.slice(0, 10), 3))).finish.reason, "length");
    checkIdle();
  });
});
