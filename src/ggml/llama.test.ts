import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { StowageError } from "../errors.ts";
import { loadLlama } from "./llama.ts";
import { LlamaContext } from "./llama-context.ts";
import { LlamaModel } from "./llama-model.ts";
import { checkDefaults, contextParamsLayout, modelParamsLayout, withFields } from "./llama-params.ts";

const hasCode = (code: string) => (error: unknown) => error instanceof StowageError && error.code === code;

test("the library's defaults stand at the offsets that are used", () => {
  const { modelDefaults, contextDefaults } = loadLlama();
  checkDefaults("llama_model_params", modelDefaults, modelParamsLayout);
  checkDefaults("llama_context_params", contextDefaults, contextParamsLayout);
});

test("a struct whose fields moved is refused, by name", () => {
  const { contextDefaults } = loadLlama();
  const moved = new Uint8Array(contextDefaults.length);
  moved.set(contextDefaults.subarray(0, 48), 8);
  assert.throws(
    () => checkDefaults("llama_context_params", moved, contextParamsLayout),
    (error) => {
      assert.ok(hasCode("native_version_mismatch")(error));
      assert.match((error as Error).message, /contextTokens@0=0/);
      return true;
    },
  );
});

test("setting fields leaves every other byte as it was", () => {
  const { modelDefaults } = loadLlama();
  const changed = withFields(modelDefaults, modelParamsLayout, { vocabOnly: true, gpuLayers: 7 });
  const differing = [...changed.keys()].filter((index) => changed[index] !== modelDefaults[index]);
  assert.deepEqual(differing, [16, 17, 18, 19, 72]);
});

test("a file that is no model is a typed error", async () => {
  await assert.rejects(LlamaModel.load(import.meta.filename), hasCode("native_call_failed"));
  await assert.rejects(LlamaModel.load("/nowhere/none.gguf"), hasCode("native_call_failed"));
});

test("two sequences side by side get the logits that each gets alone", { skip: withoutSample }, async () => {
  const model = await LlamaModel.load(samplePath, { mmap: true, repack: false });
  const prompts = ["It was a dark and", "const answer ="].map((text) => tokensOf(model, text));
  const alone = prompts.map((tokens) => {
    const context = new LlamaContext(model, { contextTokens: 64, threads: availableParallelism() });
    const [logits] = context.decode(entriesOf(tokens, 0));
    context.dispose();
    return logits!;
  });
  for (const unifiedKv of [false, true]) {
    const context = new LlamaContext(model, {
      contextTokens: 128,
      sequences: 2,
      threads: availableParallelism(),
      unifiedKv,
    });
    const both = context.decode(prompts.flatMap((tokens, sequence) => entriesOf(tokens, sequence)));
    assert.equal(both.length, 2);
    both.forEach((logits, sequence) => {
      assert.equal(logits.length, model.vocabulary.size);
      assert.ok(largestGap(logits, alone[sequence]!) < 0.05, `sequence ${sequence} differs`);
    });
    assert.ok(largestGap(both[0]!, both[1]!) > 1, "the two prompts give different logits");
    context.dispose();
  }
  model.dispose();
});

test("a forgotten tail is computed again to the same logits; clear forgets all", {
  skip: withoutSample,
}, async () => {
  const model = await LlamaModel.load(samplePath);
  const context = new LlamaContext(model, {
    contextTokens: 64,
    threads: availableParallelism(),
    flashAttention: true,
  });
  const tokens = tokensOf(model, "The captain looked at the sea");
  const last = { token: tokens.at(-1)!, position: tokens.length - 1, sequence: 0, wantLogits: true };
  context.decode(entriesOf(tokens.slice(0, -1), 0));
  const [first] = context.decode([last]);
  assert.equal(context.remove(0, last.position, last.position + 1), true);
  const [again] = context.decode([last]);
  assert.equal(largestGap(first!, again!), 0);
  context.clear();
  const [cleared] = context.decode([{ ...last, position: 0 }]);
  assert.ok(largestGap(first!, cleared!) > 0.1);
  model.dispose();
});

test("a full KV cache, a wrong token and a wrong sequence are typed errors", {
  skip: withoutSample,
}, async () => {
  const model = await LlamaModel.load(samplePath);
  const context = new LlamaContext(model, {
    contextTokens: 256,
    threads: availableParallelism(),
    batchTokens: 64,
  });
  const entry = { token: 5, position: 0, sequence: 0, wantLogits: false };
  assert.throws(() => context.decode([{ ...entry, token: 8192 }]), hasCode("native_call_failed"));
  assert.throws(() => context.decode([{ ...entry, token: -1 }]), hasCode("native_call_failed"));
  assert.throws(() => context.decode([{ ...entry, sequence: 1 }]), hasCode("native_call_failed"));
  assert.throws(() => context.decode(Array.from({ length: 65 }, () => entry)), hasCode("native_call_failed"));
  const fill = () => {
    for (let start = 0; start <= 256; start += 64) {
      context.decode(Array.from({ length: 64 }, (_, index) => ({ ...entry, position: start + index })));
    }
  };
  assert.throws(fill, /no room is left in the KV cache/);
  context.clear();
  context.decode([entry]);
  assert.throws(() => context.logits(0), hasCode("native_call_failed"));
  model.dispose();
});

test("use after dispose is a typed error; a model frees its contexts", { skip: withoutSample }, async () => {
  const model = await LlamaModel.load(samplePath);
  const context = new LlamaContext(model, { contextTokens: 64, threads: 1 });
  model.dispose();
  model.dispose();
  const uses = [
    () => context.decode([]),
    () => context.clear(),
    () => context.batch.add(1, 0, 0, true),
    () => new LlamaContext(model, { contextTokens: 64, threads: 1 }),
    () => model.chatTemplate,
    () => model.vocabulary.isControl(1),
    () => tokensOf(model, "text"),
  ];
  for (const use of uses) assert.throws(use, hasCode("native_disposed"));
});

test("loading leaves the event loop free", { skip: withoutSample }, async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const model = await LlamaModel.load(samplePath, { mmap: false });
  clearInterval(timer);
  model.dispose();
  assert.ok(turns > 0);
});

function tokensOf(model: LlamaModel, text: string): number[] {
  const options = { addSpecial: true, parseSpecial: false };
  return [...model.vocabulary.tokenize(new TextEncoder().encode(text), options)];
}

function entriesOf(tokens: readonly number[], sequence: number) {
  return tokens.map((token, position) => ({
    token,
    position,
    sequence,
    wantLogits: position === tokens.length - 1,
  }));
}

function largestGap(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - b[index]!)), 0);
}
