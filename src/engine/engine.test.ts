import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertSameGreedy, type Collected, collect } from "../../test/collect.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { graphBuildCalls } from "../ggml/context.ts";
import { type LoadedModel, type LoadOptions, loadEngine } from "./load.ts";

/**
 * How far apart log-probabilities may be, nats, when the same tokens ran in steps of another composition. Kernels for
 * few and for many tokens round differently, and now and then flip an expert. A wrong position, mask or cell moves
 * them by whole nats, and not now and then.
 */
const tolerance = 0.3;
const greedy = { temperature: 0, logprobs: 2 };
const openings = [
  "Once upon a time there was",
  "const answer =",
  'The captain looked at the sea and said: "',
  "def fibonacci(n):\n    ",
  "Tom has 5 apples and buys 7 more. How many",
  "In the beginning",
  "It was a dark and stormy night; the rain fell in torrents, except at occasional intervals, when it was " +
    "checked by a violent gust of wind which swept up the streets of the old town",
  "import { readFile } from",
];

async function withModel(options: LoadOptions, use: (model: LoadedModel) => Promise<void>): Promise<void> {
  // One thread: threads that wait for each other cost much where other processes want the processors too.
  const model = await loadEngine(samplePath, { threads: 1, ...options });
  try {
    await use(model);
  } finally {
    await model.dispose();
  }
}

function tokensOf(model: LoadedModel, text: string): number[] {
  return [...model.tokenizer.encode(text, { addSpecial: true, parseSpecial: false })];
}

function submitGreedy(model: LoadedModel, prompt: readonly number[], maxTokens: number) {
  return model.engine.submit({ prompt, maxTokens, ignoreEnd: true, sampling: greedy });
}

/** What a prompt gets when nothing else runs and nothing is kept. */
async function alone(model: LoadedModel, prompt: readonly number[], maxTokens: number): Promise<Collected> {
  model.engine.clearCache();
  return collect(submitGreedy(model, prompt, maxTokens));
}

describe("many sequences on one model", { skip: withoutSample }, () => {
  let model: LoadedModel;
  let prompts: number[][];
  let expected: Collected[];
  const lengths = openings.map((_, index) => 30 + 15 * index);
  before(async () => {
    // A step a token: without drafts.
    model = await loadEngine(samplePath, { threads: 1, kvTokens: 4096, speculate: "off" });
    prompts = openings.map((text) => tokensOf(model, text));
    expected = [];
    for (const [index, prompt] of prompts.entries()) {
      expected.push(await alone(model, prompt, lengths[index]!));
    }
    model.engine.clearCache();
  });
  after(() => model?.dispose());

  test("each gets in a batch what it gets alone, as others join and leave", async () => {
    const running: Promise<Collected>[] = [];
    const start = (index: number): void => {
      const sequence = submitGreedy(model, prompts[index]!, lengths[index]!);
      // The next one joins when this one has a few tokens: prefill beside decoding.
      const joins = (count: number) => count === 5 && index + 1 < prompts.length && start(index + 1);
      running[index] = collect(sequence, joins);
    };
    start(0);
    for (let index = 0; index < prompts.length; index++) {
      while (!running[index]) await new Promise((resolve) => setTimeout(resolve, 1));
      assertSameGreedy(await running[index]!, expected[index]!, tolerance);
    }
    assert.ok(
      model.engine.records
        .list()
        .some(({ prefillTokens, decodeSequences }) => prefillTokens > 0 && decodeSequences > 2),
    );
  });

  test("together from the start: the same", async () => {
    model.engine.clearCache();
    const results = await Promise.all(
      prompts.map((prompt, index) => collect(submitGreedy(model, prompt, lengths[index]!))),
    );
    results.forEach((result, index) => {
      assertSameGreedy(result, expected[index]!, tolerance);
      assert.equal(result.finish.reason, "length");
      assert.equal(result.finish.promptTokens, prompts[index]!.length);
      assert.equal(result.finish.generatedTokens, lengths[index]!);
    });
    assert.deepEqual(model.engine.load, { waiting: 0, running: 0, paused: 0, freeCells: model.plan.kvCells });
  });

  test("what a prompt shares with earlier ones is not computed again, and changes nothing", async () => {
    const prompt = prompts[6]!;
    const first = await alone(model, prompt, 20);
    assert.equal(first.finish.cachedTokens, 0);
    const again = await collect(submitGreedy(model, prompt, 20));
    assert.equal(again.finish.cachedTokens, prompt.length - 1);
    assertSameGreedy(again, first, tolerance);
    const turn = [...prompt, ...first.events.map(({ token }) => token), ...tokensOf(model, " and then")];
    const next = await collect(submitGreedy(model, turn, 20));
    assert.equal(next.finish.cachedTokens, prompt.length + 19, "all but the last token that was generated");
    assertSameGreedy(next, await alone(model, turn, 20), tolerance);
  });

  test("steps are recorded", async () => {
    model.engine.clearCache();
    const { total } = model.engine.records;
    const started = performance.now();
    await collect(submitGreedy(model, prompts[6]!, 5));
    assert.equal(model.engine.records.total, total + 5);
    const [prefill, ...decodes] = model.engine.records.list().slice(-5);
    assert.equal(prefill!.prefillTokens, prompts[6]!.length);
    assert.equal(prefill!.decodeSequences, 0);
    assert.equal(prefill!.contextTokens, prompts[6]!.length);
    decodes.forEach((record, index) => {
      assert.equal(record.prefillTokens, 0);
      assert.equal(record.decodeSequences, 1);
      assert.equal(record.contextTokens, prompts[6]!.length + index + 1);
    });
    for (const { at, prepareMs, computeMs, sampleMs } of [prefill!, ...decodes]) {
      assert.ok(at >= started && prepareMs >= 0 && computeMs > 0 && sampleMs > 0);
    }
    assert.ok(model.engine.records.list().length <= 1024);
  });

  for (const batch of [1, 8]) {
    test(`a steady decode step builds no graph: ${batch} at a time`, async () => {
      model.engine.clearCache();
      const counts = new Array<number>(batch).fill(0);
      const marks: { steps: number; calls: number }[] = [];
      const watch = (index: number) => (count: number) => {
        counts[index] = count;
        const everybodyHas = Math.min(...counts);
        if (everybodyHas < [6, 57][marks.length]!) return;
        marks.push({ steps: model.engine.records.total, calls: graphBuildCalls() });
      };
      const sequences = prompts.slice(0, batch).map((prompt) => submitGreedy(model, prompt, 60));
      await Promise.all(sequences.map((sequence, index) => collect(sequence, watch(index))));
      const [early, late] = marks;
      assert.ok(late!.steps - early!.steps >= 50);
      assert.equal(late!.calls, early!.calls);
      assert.ok(
        model.engine.records
          .list()
          .slice(-50)
          .every(({ reused, decodeSequences }) => reused && decodeSequences === batch),
      );
    });
  }
});

test("a prompt in chunks gets what it gets at once", { skip: withoutSample }, async () => {
  let whole: Collected | undefined;
  for (const stepTokens of [512, 32, 7]) {
    await withModel({ stepTokens }, async (model) => {
      const prompt = tokensOf(model, openings.join("\n").repeat(6)).slice(0, 440);
      const result = await alone(model, prompt, 40);
      const chunks = model.engine.records.list().filter(({ prefillTokens }) => prefillTokens > 0);
      assert.ok(chunks.length >= Math.floor(440 / stepTokens));
      assert.ok(chunks.every(({ prefillTokens }) => prefillTokens <= stepTokens));
      whole ??= result;
      assertSameGreedy(result, whole, tolerance);
    });
  }
});

test("more sequences than KV memory: preempted, computed again, and all complete", {
  skip: withoutSample,
}, async () => {
  await withModel({ kvTokens: 512, maxSequences: 3 }, async (model) => {
    const texts = openings.slice(0, 3).map((text, index) => `${text} ${openings.slice(index).join(" ")}`);
    const prompts = texts.map((text) => tokensOf(model, text).slice(0, 60));
    const expected: Collected[] = [];
    for (const prompt of prompts) expected.push(await alone(model, prompt, 210));
    model.engine.clearCache();
    const before = model.engine.records.total;
    const results = await Promise.all(prompts.map((prompt) => collect(submitGreedy(model, prompt, 210))));
    results.forEach((result, index) => {
      assertSameGreedy(result, expected[index]!, tolerance);
      assert.equal(result.finish.generatedTokens, 210);
    });
    const { total } = model.engine.records;
    const records = model.engine.records.list().slice(-(total - before));
    const prefilled = records.reduce((sum, { prefillTokens }) => sum + prefillTokens, 0);
    const prompted = prompts.reduce((sum, prompt) => sum + prompt.length, 0);
    assert.ok(prefilled > prompted, `${prefilled} tokens were prefilled for prompts of ${prompted}`);
    assert.equal(model.engine.load.freeCells, 512);
  });
});

test("a context is used to its last token", { skip: withoutSample }, async () => {
  await withModel({ contextTokens: 300, kvTokens: 300 }, async (model) => {
    assert.equal(model.plan.kvCells, 512);
    const prompt = tokensOf(model, openings.join("\n").repeat(6)).slice(0, 290);
    const { finish, events } = await collect(
      model.engine.submit({ prompt, ignoreEnd: true, sampling: greedy }),
    );
    assert.equal(finish.reason, "length");
    assert.equal(events.length, 10);
    const last = await collect(submitGreedy(model, [...prompt, ...prompt].slice(0, 299), 50));
    assert.equal(last.events.length, 1);
  });
});
