import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type LoadedModel, loadEngine } from "../src/engine/load.ts";
import { kvTypesOf } from "../src/kv/types.ts";
import { writeSyntheticModel } from "../src/model/synth.ts";
import { collect } from "./collect.ts";
import { hasCode } from "./has-code.ts";

const shape = {
  architecture: "llama",
  layers: 2,
  width: 128,
  heads: 4,
  kvHeads: 2,
  headWidth: 32,
  feedForwardWidth: 128,
  experts: 0,
  expertsUsed: 0,
  expertWidth: 0,
  vocabulary: 512,
  context: 1024,
  ropeBase: 10_000,
  normEpsilon: 1e-5,
  type: "F16",
  seed: 3,
} as const;

const prompt = Array.from({ length: 300 }, (_, index) => 5 + ((index * 97) % 500));

let folder: string;
let path: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "stowage-kv-types-"));
  path = join(folder, "model.gguf");
  await writeSyntheticModel(path, shape);
});
after(() => rmSync(folder, { recursive: true }));

async function greedy({ engine }: LoadedModel, tokens: readonly number[]) {
  const sampling = { temperature: 0 };
  const { events, finish } = await collect(
    engine.submit({ prompt: tokens, maxTokens: 12, sampling, ignoreEnd: true }),
  );
  return { tokens: events.map(({ token }) => token), cached: finish.cachedTokens };
}

for (const [keys, values, cellBytes] of [
  ["f16", "f16", 2 * 2 * (2 * 64 + 32)],
  ["q8_0", "q8_0", 2 * 2 * 2 * 34],
  ["q8_0", "q4_0", 2 * 2 * (34 + 18)],
  ["q4_0", "q4_0", 2 * 2 * 2 * 18],
] as const) {
  describe(`a KV cache with keys in ${keys} and values in ${values}`, () => {
    let model: LoadedModel;
    before(async () => {
      model = await loadEngine(path, { threads: 1, kvTokens: 2048, cacheTypeK: keys, cacheTypeV: values });
      await model.engine.settled;
    });
    after(() => model.dispose());

    test("takes what its blocks take", () => {
      assert.equal(model.plan.kv, cellBytes * 2048);
    });

    test("serves prompts that begin alike, one that goes on and one that branches off, from copied cells", async () => {
      const { engine } = model;
      const alike = [
        [...prompt, 9, 8],
        [...prompt.slice(0, 280), 7, 6, 5],
      ];
      const alone: number[][] = [];
      for (const tokens of alike) {
        engine.clearCache();
        alone.push((await greedy(model, tokens)).tokens);
      }
      engine.clearCache();
      await greedy(model, prompt);
      for (const [index, tokens] of alike.entries()) {
        const again = await greedy(model, tokens);
        assert.ok(again.cached >= 280, `${again.cached} tokens were there`);
        assert.deepEqual(again.tokens, alone[index]);
      }
    });

    test("gives a sequence the same tokens beside others", async () => {
      const { engine } = model;
      const prompts = [40, 90, 20].map((length) => prompt.slice(length, 2 * length + 3));
      const alone: number[][] = [];
      for (const tokens of prompts) {
        engine.clearCache();
        alone.push((await greedy(model, tokens)).tokens);
      }
      engine.clearCache();
      const together = await Promise.all(prompts.map((tokens) => greedy(model, tokens)));
      assert.deepEqual(
        together.map(({ tokens }) => tokens),
        alone,
      );
    });
  });
}

test("heads that are no whole blocks are refused", async () => {
  const narrow = join(folder, "narrow.gguf");
  await writeSyntheticModel(narrow, { ...shape, headWidth: 48 });
  for (const options of [{ cacheTypeK: "q8_0" }, { cacheTypeV: "q4_0" }] as const) {
    await assert.rejects(loadEngine(narrow, options), hasCode("kv_type"));
  }
  const model = await loadEngine(narrow, { threads: 1 });
  await model.dispose();
});

test("types are F16 where nothing is named", () => {
  assert.deepEqual(kvTypesOf(), { keys: "F16", values: "F16" });
  assert.deepEqual(kvTypesOf(undefined, "q4_0"), { keys: "F16", values: "Q4_0" });
});
