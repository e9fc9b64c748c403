import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { after, before, describe, test } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { StowageError } from "../errors.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { llamaSide, Side } from "./side.ts";
import { asRequest, readReply } from "./side-messages.ts";

const failure = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StowageError, String(error));
  assert.equal(error.code, "side_failed");
  assert.match(error.message, pattern);
  return true;
};
const options = { modelPath: samplePath, threads: availableParallelism(), contextTokens: 1024, sequences: 4 };

describe("the llama.cpp peer", { skip: withoutSample }, () => {
  let peer: Side;
  let tokenizer: Tokenizer;
  let prompts: number[][];
  before(async () => {
    tokenizer = await Tokenizer.load(samplePath);
    const texts = [
      "It was a dark and stormy night, and",
      "import { readFile } from",
      "Question: Anna has 3 apples",
      "The captain said",
    ];
    prompts = texts.map((text) => [...tokenizer.encode(text, { addSpecial: true, parseSpecial: false })]);
    peer = await Side.start(llamaSide, options);
  });
  after(async () => {
    tokenizer?.dispose();
    await peer?.stop();
  });

  test("load, prefill and decode agree on the first token, and take time", async () => {
    const [prompt] = prompts as [number[]];
    const load = await peer.loadToFirstToken(prompt);
    const again = await peer.loadToFirstToken(prompt);
    const prefill = await peer.prefill(prompt);
    const { stepMilliseconds, tokens } = await peer.decode([prompt], 5);
    assert.equal(again.token, load.token);
    assert.equal(prefill.token, load.token);
    assert.equal(tokens[0]![0], load.token);
    assert.equal(stepMilliseconds.length, 5);
    assert.ok(load.milliseconds > prefill.milliseconds, "loading takes longer than the prompt alone");
    assert.ok(prefill.milliseconds > 0 && stepMilliseconds.every((sample) => sample > 0));
  });

  test("greedy text is words, and the same each time", async () => {
    const first = await peer.decode([prompts[0]!], 40);
    const second = await peer.decode([prompts[0]!], 40);
    assert.deepEqual(second.tokens, first.tokens);
    const text = tokenizer.decode(first.tokens[0]!);
    assert.ok(text.split(/\s+/).length > 15, text);
    assert.match(text, /\b(the|a|of|and|to)\b/);
    assert.ok(!text.includes("\ufffd"), text);
  });

  test("sequences side by side continue their own prompts", async () => {
    const { tokens, stepMilliseconds } = await peer.decode(prompts, 10);
    assert.equal(stepMilliseconds.length, 10);
    assert.equal(new Set(tokens.map((list) => list.join())).size, 4, "four prompts, four texts");
    for (const [index, prompt] of prompts.entries()) {
      const alone = await peer.prefill(prompt);
      assert.equal(tokens[index]![0], alone.token);
    }
  });

  test("a prompt of several batches", async () => {
    const long = await Side.start(llamaSide, {
      ...options,
      contextTokens: 4096,
      sequences: 1,
      threads: availableParallelism(),
    });
    try {
      const prompt = Array.from({ length: 2100 }, (_, index) => prompts[0]![index % prompts[0]!.length]!);
      const { milliseconds } = await long.prefill(prompt);
      const short = await long.prefill(prompts[0]!);
      assert.ok(milliseconds > short.milliseconds);
    } finally {
      await long.stop();
    }
  });

  test("its memory holds the model", async () => {
    const bytes = await peer.peakMemory();
    assert.ok(bytes > 40e6 && bytes < 2e9, `${bytes} bytes`);
  });

  test("what cannot be done is a typed error, and the peer lives on", async () => {
    await assert.rejects(peer.prefill([99_999]), failure(/llama_decode/));
    await assert.rejects(peer.prefill([]), failure(/not valid/));
    await assert.rejects(peer.decode([prompts[0]!], 2000), failure(/KV cache/));
    await assert.rejects(peer.decode([...prompts, prompts[0]!], 1), failure(/llama_decode/));
    const running = peer.prefill(prompts[0]!);
    await assert.rejects(peer.prefill(prompts[0]!), failure(/still busy/));
    assert.ok((await running).milliseconds > 0);
  });

  test("a peer without a model, and a stopped one, fail by name", async () => {
    const lost = await Side.start(llamaSide, { ...options, modelPath: "/nowhere/none.gguf" });
    await assert.rejects(lost.prefill([1]), failure(/none\.gguf could not be loaded/));
    await lost.stop();
    await lost.stop();
    await assert.rejects(lost.peakMemory(), failure(/has ended/));
  });

  test("stopping in the middle of a measure rejects it", async () => {
    const stopped = await Side.start(llamaSide, options);
    const pending = assert.rejects(
      stopped.decode([prompts[0]!], 200),
      failure(/the process ended \(SIGKILL\)/),
    );
    await stopped.stop();
    await pending;
  });
});

test("settings that cannot be are refused before anything is loaded", async () => {
  await assert.rejects(Side.start(llamaSide, { ...options, threads: 0 }), failure(/not valid/));
});

test("messages are checked on both ends", () => {
  assert.equal(asRequest({ task: "prefill", prompt: [1, -2] }), undefined);
  assert.equal(asRequest({ task: "toString" }), undefined);
  assert.equal(asRequest(null), undefined);
  assert.ok(asRequest({ task: "decode", prompts: [[1], [2, 3]], steps: 4 }));
  assert.deepEqual(readReply("memory", { task: "memory", result: { peakBytes: 7 } }), {
    result: { peakBytes: 7 },
  });
  for (const message of [
    { task: "load", result: { peakBytes: 7 } },
    { task: "memory", result: { peakBytes: "7" } },
    { task: "memory" },
    "x",
    undefined,
  ]) {
    assert.ok("error" in readReply("memory", message));
  }
});
