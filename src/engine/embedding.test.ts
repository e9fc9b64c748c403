import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { collect } from "../../test/collect.ts";
import {
  type EmbeddingDistances,
  embeddingBounds,
  embeddingCases,
  embeddingTypes,
  measureEmbeddings,
  textOf,
  writeEmbeddingModel,
} from "../../test/embedding-measure.ts";
import { vectorDistance } from "../../test/embedding-peer.ts";
import { hasCode } from "../../test/has-code.ts";
import { poolings } from "../model/pooling.ts";
import { poolingFor, shapeVector } from "./embedding.ts";
import { type LoadedModel, loadEngine } from "./load.ts";
import { readText } from "./text-pass.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "stowage-"));
});
after(() => rm(folder, { recursive: true }));

/** Written by the first tests. */
const qwen3 = () => join(folder, "qwen3-F32.gguf");

function within(distances: EmbeddingDistances, type: string): void {
  for (const [pooling, distance] of Object.entries(distances)) {
    assert.ok(distance < embeddingBounds[type]!, `${pooling}: ${distance}`);
  }
}

async function load(path: string, options: Parameters<typeof loadEngine>[1] = {}): Promise<LoadedModel> {
  const model = await loadEngine(path, { threads: 1, ...options });
  await model.engine.settled;
  return model;
}

describe("embeddings are as libllama's, for every pooling, alone and side by side", () => {
  for (const architecture of embeddingCases) {
    for (const type of embeddingTypes) {
      test(`${architecture}, ${type}`, async () => {
        const path = join(folder, `${architecture}-${type}.gguf`);
        await writeEmbeddingModel(path, architecture, type);
        within(await measureEmbeddings(path), type);
      });
    }
  }

  test("qwen3, in chunks", async () => within(await measureEmbeddings(qwen3(), { stepTokens: 24 }), "F32"));
});

describe("encoders", () => {
  test("generate nothing, keep nothing, and take texts of the whole context", async () => {
    const path = join(folder, "bert-F32.gguf");
    const model = await load(path);
    assert.throws(() => model.engine.submit({ prompt: [1, 2] }), hasCode("model_embeds"));
    const read = readText(model, "the sea ".repeat(40), { chunkTokens: 16 }, () => {});
    await assert.rejects(read.next(), hasCode("model_embeds"));
    assert.equal(model.plan.kv, 0);
    assert.equal(model.pooling, "mean");
    assert.equal(model.engine.limits.contextTokens, 256);
    const tokens = textOf(257, 1);
    assert.throws(() => model.engine.embed({ tokens, pooling: "cls" }), hasCode("embedding_too_long"));
    const twice = [0, 1].map(() => model.engine.embed({ tokens: tokens.slice(1), pooling: "last" }).result);
    const [first, second] = await Promise.all(twice);
    const later = await model.engine.embed({ tokens: tokens.slice(1), pooling: "last" }).result;
    for (const { vectors, cachedTokens } of [second!, later]) {
      assert.ok(vectorDistance(vectors[0]!, first!.vectors[0]!) < embeddingBounds.F32!);
      assert.equal(cachedTokens, 0);
    }
    const running = model.engine.embed({ tokens: tokens.slice(1), pooling: "mean" });
    running.cancel();
    await assert.rejects(running.result, hasCode("request_cancelled"));
    await model.dispose();
  });
});

describe("embeddings beside generations", () => {
  let model: LoadedModel;
  before(async () => {
    model = await load(qwen3(), { stepTokens: 32, maxSequences: 6, kvTokens: 1536 });
  });
  after(() => model?.dispose());

  test("in one batch, each is as if alone", async () => {
    const prompt = textOf(9, 4);
    const generate = () =>
      collect(model.engine.submit({ prompt, maxTokens: 12, ignoreEnd: true, sampling: { temperature: 0 } }));
    const texts = poolings.flatMap((pooling) =>
      [21, 40].map((length) => ({ tokens: textOf(length, length), pooling })),
    );
    const alone = [];
    for (const text of texts) {
      model.engine.clearCache();
      alone.push((await model.engine.embed(text).result).vectors);
    }
    model.engine.clearCache();
    const words = (await generate()).events.map(({ token }) => token);
    model.engine.clearCache();
    const [said, ...together] = await Promise.all([
      generate(),
      ...texts.map((text) => model.engine.embed(text).result),
    ]);
    assert.deepEqual(
      said.events.map(({ token }) => token),
      words,
    );
    for (const [index, { vectors }] of together.entries()) {
      assert.equal(vectors.length, alone[index]!.length);
      for (const [token, vector] of vectors.entries()) {
        assert.ok(vectorDistance(vector, alone[index]![token]!) < 1e-3);
      }
    }
    assert.equal(model.engine.load.running, 0);
  });

  test("what begins alike is computed once where the last token counts, and anew where all do", async () => {
    model.engine.clearCache();
    const tokens = textOf(50, 5);
    await model.engine.embed({ tokens: tokens.slice(0, 40), pooling: "last" }).result;
    const last = await model.engine.embed({ tokens, pooling: "last" }).result;
    assert.equal(last.cachedTokens, 40);
    const mean = await model.engine.embed({ tokens, pooling: "mean" }).result;
    assert.equal(mean.cachedTokens, 0);
    model.engine.clearCache();
    const anew = await model.engine.embed({ tokens, pooling: "last" }).result;
    assert.ok(vectorDistance(last.vectors[0]!, anew.vectors[0]!) < 1e-3);
  });

  test("one that is cancelled lets go of everything", async () => {
    const sequence = model.engine.embed({ tokens: textOf(250, 6), pooling: "mean" });
    sequence.cancel();
    await assert.rejects(sequence.result, hasCode("request_cancelled"));
    const running = model.engine.embed({ tokens: textOf(250, 6), pooling: "mean" });
    await new Promise((resolve) => setTimeout(resolve, 5));
    running.cancel();
    await assert.rejects(running.result, hasCode("request_cancelled"));
    assert.deepEqual([model.engine.load.running, model.engine.load.waiting], [0, 0]);
  });

  test("memory for some of them at a time is enough for all", async () => {
    model.engine.clearCache();
    const texts = Array.from({ length: 20 }, (_, index) => textOf(200 + index, index));
    const results = await Promise.all(
      texts.map((tokens) => model.engine.embed({ tokens, pooling: "mean" }).result),
    );
    assert.equal(results.length, texts.length);
    const again = await model.engine.embed({ tokens: texts[19]!, pooling: "mean" }).result;
    assert.ok(vectorDistance(results[19]!.vectors[0]!, again.vectors[0]!) < 1e-3);
  });

  test("texts that cannot be embedded", async () => {
    const { engine } = model;
    const { contextTokens } = engine.limits;
    const pooling = "mean";
    assert.throws(() => engine.embed({ tokens: [], pooling }), hasCode("request_empty"));
    assert.throws(() => engine.embed({ tokens: [512], pooling }), hasCode("token_invalid"));
    const long = textOf(contextTokens + 1, 1);
    assert.throws(() => engine.embed({ tokens: long, pooling }), hasCode("embedding_too_long"));
    const full = await engine.embed({ tokens: long.slice(1), pooling }).result;
    assert.equal(full.promptTokens, contextTokens);
  });
});

test("vectors get length 1, and as many elements as asked for", () => {
  assert.deepEqual([...shapeVector(Float32Array.of(3, 4))], [Math.fround(0.6), Math.fround(0.8)]);
  assert.deepEqual([...shapeVector(Float32Array.of(-2, 4, 4), 1)], [-1]);
  assert.deepEqual([...shapeVector(Float32Array.of(0, 0))], [0, 0]);
  for (const dimensions of [0, 3, 1.5, Number.NaN]) {
    assert.throws(() => shapeVector(Float32Array.of(1, 2), dimensions), hasCode("embedding_dimensions"));
  }
});

test("the pooling of a request, else of the model; ranking is none, and one vector a token is not one a text", () => {
  assert.equal(poolingFor("cls", "mean"), "cls");
  assert.equal(poolingFor(undefined, "mean"), "mean");
  assert.equal(poolingFor("mean", "rank"), "mean");
  assert.throws(() => poolingFor(undefined, "rank"), hasCode("embedding_pooling"));
  assert.throws(() => poolingFor(undefined, "none"), hasCode("embedding_pooling"));
});
