import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { perplexityByLlama } from "../../test/perplexity-peer.ts";
import { samplePath } from "../../test/sample-model.ts";
import { sampleTexts } from "../../test/sample-texts.ts";
import { tinyShapes } from "../../test/tiny-model.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { type LoadOptions, loadEngine } from "./load.ts";
import { Losses, measurePerplexity, type Perplexity } from "./perplexity.ts";

const text = sampleTexts.prose.slice(0, 2400);
const chunkTokens = 64;

/** Greatest difference from libllama's number, as a share of it. */
const tolerance = 0.001;

async function measure(path: string, options: LoadOptions = {}, chunks?: number): Promise<Perplexity[]> {
  const sizes = { contextTokens: chunkTokens, maxSequences: 1, kvTokens: chunkTokens, threads: 1 };
  const model = await loadEngine(path, { ...sizes, ...options });
  try {
    const all: Perplexity[] = [];
    for await (const estimate of measurePerplexity(model, text, { chunkTokens, chunks })) all.push(estimate);
    return all;
  } finally {
    await model.dispose();
  }
}

describe("measurePerplexity", () => {
  let folder: string;
  const tiny = {
    layers: 2,
    width: 256,
    heads: 4,
    kvHeads: 2,
    headWidth: 64,
    feedForwardWidth: 512,
    expertWidth: 256,
    vocabulary: 1500,
    context: 256,
    ropeBase: 10_000,
    normEpsilon: 1e-5,
    type: "Q4_0",
    seed: 5,
  } as const;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-perplexity-"));
    await writeSyntheticModel(join(folder, "dense.gguf"), {
      ...tiny,
      architecture: "qwen3",
      experts: 0,
      expertsUsed: 0,
    });
    await writeSyntheticModel(join(folder, "mixture.gguf"), {
      ...tiny,
      architecture: "qwen3moe",
      experts: 8,
      expertsUsed: 2,
    });
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const name of ["the sample model", "dense.gguf", "mixture.gguf"]) {
    it(`${name}: llama.cpp's number within 0.1 %`, async () => {
      const path = name.endsWith(".gguf") ? join(folder, name) : samplePath;
      const estimates = await measure(path);
      const { perplexity, error, scoredTokens, chunks, done } = estimates.at(-1)!;
      const expected = await perplexityByLlama(path, text, chunkTokens);
      assert.ok(Math.abs(perplexity / expected - 1) < tolerance, `${perplexity} and ${expected}`);
      assert.deepEqual(
        [estimates.length, done, scoredTokens],
        [chunks, chunks, chunks * (chunkTokens / 2 - 1)],
      );
      assert.ok(chunks > 5 && error > 0 && error < perplexity, `${chunks} chunks, ± ${error}`);
    });
  }

  it("gives the same number, bit by bit, with a budget for experts", async () => {
    const all = await measure(samplePath, {}, 3);
    const options = { expertMemory: "30%", prepare: "never" } as const;
    assert.deepEqual(await measure(samplePath, options, 3), all);
    assert.equal(all.length, 3);
  });

  it("gives the same number, nearly, when a chunk takes several steps", async () => {
    const [whole] = await measure(samplePath, {}, 1);
    const [stepwise] = await measure(samplePath, { stepTokens: 24 }, 1);
    assert.equal(stepwise!.scoredTokens, whole!.scoredTokens);
    assert.ok(Math.abs(stepwise!.perplexity / whole!.perplexity - 1) < tolerance);
  });

  it("refuses a text shorter than a chunk, and chunks that do not fit", async () => {
    const model = await loadEngine(samplePath, { contextTokens: chunkTokens, threads: 1 });
    const first = (text: string, chunkTokens: number) =>
      measurePerplexity(model, text, { chunkTokens }).next();
    await assert.rejects(first("Too short.", chunkTokens), hasCode("text_too_short"));
    for (const chunk of [7, chunkTokens + 1, 16.5])
      await assert.rejects(first(text, chunk), hasCode("load_option"), `${chunk}`);
    await model.dispose();
  });
});

describe("an encoder", () => {
  it("expects no next token, and is refused", async () => {
    const folder = mkdtempSync(join(tmpdir(), "stowage-perplexity-encoder-"));
    const path = join(folder, "bert.gguf");
    await writeSyntheticModel(path, { ...tinyShapes.bert!, type: "F32", seed: 1 });
    await assert.rejects(measure(path), hasCode("model_embeds"));
    rmSync(folder, { recursive: true });
  });
});

describe("Losses", () => {
  it("is what it is by its definition", () => {
    const losses = new Losses();
    const logits = Float32Array.of(0, Math.log(3), Number.NEGATIVE_INFINITY, 0);
    losses.add(logits, 1);
    losses.add(logits, 0);
    // Probabilities 3/5 and 1/5.
    const [a, b] = [Math.log(5 / 3), Math.log(5)];
    const { perplexity, error } = losses.estimate;
    assert.ok(Math.abs(perplexity - Math.exp((a + b) / 2)) < 1e-6);
    assert.ok(Math.abs(error - perplexity * ((b - a) / 2)) < 1e-6);
  });
});
