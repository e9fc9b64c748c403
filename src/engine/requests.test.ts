import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { collect } from "../../test/collect.ts";
import { hasCode } from "../../test/has-code.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { type LoadedModel, loadEngine } from "./load.ts";
import type { SamplingParams } from "./sampling/params.ts";
import type { SequenceRequest } from "./sequence.ts";

describe("requests", { skip: withoutSample }, () => {
  let model: LoadedModel;
  let prompt: number[];
  before(async () => {
    model = await loadEngine(samplePath, { threads: 1 });
    prompt = [
      ...model.tokenizer.encode("Once upon a time there was", { addSpecial: true, parseSpecial: false }),
    ];
  });
  after(() => model?.dispose());

  const ask = (request: Partial<SequenceRequest>, sampling: SamplingParams = {}) =>
    collect(
      model.engine.submit({ prompt, ignoreEnd: true, ...request, sampling: { temperature: 0, ...sampling } }),
    );

  test("what cannot be served is a typed error, and holds nothing", () => {
    const refused = (code: Parameters<typeof hasCode>[0], request: Partial<SequenceRequest>) =>
      assert.throws(() => model.engine.submit({ prompt, ...request }), hasCode(code));
    refused("request_empty", { prompt: [] });
    refused("request_too_long", { prompt: new Array(512).fill(5) });
    refused("request_too_long", { prompt: new Int32Array(100_000) });
    for (const token of [-1, 8192, 1.5, Number.NaN]) refused("token_invalid", { prompt: [5, token] });
    for (const maxTokens of [0, -1, 1.5, Number.NaN]) refused("request_max_tokens", { maxTokens });
    refused("sampling_param", { sampling: { temperature: -1 } });
    refused("sampling_param", { sampling: { topP: 2 } });
    refused("sampling_param", { sampling: { stop: [""] } });
    refused("sampling_param", { sampling: { logprobs: 21 } });
    assert.deepEqual(model.engine.load, { waiting: 0, running: 0, paused: 0, freeCells: model.plan.kvCells });
  });

  test("a request ends after its most tokens", async () => {
    for (const maxTokens of [1, 2, 17]) {
      const { events, finish } = await ask({ maxTokens });
      assert.equal(events.length, maxTokens);
      assert.equal(finish.reason, "length");
      assert.equal(finish.generatedTokens, maxTokens);
    }
  });

  test("the text is that of the tokens", async () => {
    const { events, text } = await ask({ maxTokens: 60 });
    assert.equal(text, model.tokenizer.decode(events.map(({ token }) => token)));
  });

  test("a request ends at the model's end token, which is no text; or goes on if asked", async () => {
    const chat = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    const turn = [...model.tokenizer.encode(chat, { addSpecial: true, parseSpecial: true })];
    const ended = await ask({ prompt: turn, ignoreEnd: false });
    assert.equal(ended.finish.reason, "stop");
    const { generatedTokens } = ended.finish;
    assert.ok(generatedTokens > 1 && generatedTokens < 400);
    assert.equal(ended.events.length, generatedTokens - 1);
    assert.ok(ended.events.every(({ token }) => !model.tokenizer.isEndOfGeneration(token)));
    assert.doesNotMatch(ended.text, /<\|/);

    const past = await ask({ prompt: turn, maxTokens: generatedTokens + 5 });
    assert.equal(past.finish.reason, "length");
    assert.ok(model.tokenizer.isEndOfGeneration(past.events[generatedTokens - 1]!.token));
  });

  test("a request ends at a stop string, which is not part of the text", async () => {
    const { text } = await ask({ maxTokens: 60 });
    const stop = text.slice(21, 27);
    const stopped = await ask({ maxTokens: 60 }, { stop: [stop, "never said"] });
    assert.equal(stopped.finish.reason, "stop");
    assert.equal(stopped.text, text.slice(0, text.indexOf(stop)));
    assert.ok(stopped.finish.generatedTokens < 60);
    const held = await ask({ maxTokens: 60 }, { stop: [`${text.slice(-3)}never said`] });
    assert.equal(held.text, text, "what was held back as the start of a stop string comes in the end");
  });

  test("penalties change what is said", async () => {
    const commonest = (tokens: readonly number[]) => {
      const counts = new Map<number, number>();
      for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
      return Math.max(...counts.values());
    };
    const plain = await ask({ maxTokens: 80 });
    const penalised = await ask({ maxTokens: 80 }, { frequencyPenalty: 2, penaltyLastN: 200 });
    const [before, with_] = [plain, penalised].map(({ events }) =>
      commonest(events.map(({ token }) => token)),
    );
    assert.ok(with_! < before!, `${with_} times is not below ${before}`);
  });

  test("a seed repeats a draw; another seed draws otherwise", async () => {
    const draw = async (seed: number) => (await ask({ maxTokens: 40 }, { temperature: 1, seed })).text;
    assert.equal(await draw(1), await draw(1));
    assert.notEqual(await draw(1), await draw(2));
  });

  test("log-probabilities are those of the model, best first", async () => {
    const { events } = await ask({ maxTokens: 10 }, { logprobs: 5 });
    for (const { token, logprob, top } of events) {
      assert.equal(top!.length, 5);
      assert.deepEqual(top![0], { token, logprob });
      assert.ok(top!.every((entry, index) => entry.logprob <= (top![index - 1]?.logprob ?? 0)));
    }
  });
});

test("an engine that closes cancels what it has and takes no more", { skip: withoutSample }, async () => {
  const model = await loadEngine(samplePath, { threads: 1, maxSequences: 2 });
  const prompt = model.tokenizer.encode("In the beginning", { addSpecial: true, parseSpecial: false });
  let closing: Promise<void> | undefined;
  const results = [0, 1, 2].map(() =>
    collect(model.engine.submit({ prompt, ignoreEnd: true }), (count) => {
      if (count === 5) closing ??= model.dispose();
    }),
  );
  for (const result of results) assert.equal((await result).finish.reason, "cancelled");
  await closing;
  assert.throws(() => model.engine.submit({ prompt }), hasCode("engine_closed"));
  await model.dispose();
});
