import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadEngine } from "../src/engine/load.ts";
import { dequantizeRows } from "../src/ggml/quantize.ts";
import { openGguf } from "../src/gguf/read.ts";
import { writeSyntheticModel } from "../src/model/synth.ts";
import { tokenEmbedding } from "../src/model/token-embedding.ts";
import { tinyExperts } from "./expert-models.ts";

test("a token's embedding is its row of the file's matrix; of an id that is none, zeros", async () => {
  const folder = await mkdtemp(join(tmpdir(), "stowage-embedding-"));
  try {
    const path = join(folder, "model.gguf");
    await writeSyntheticModel(path, { ...tinyExperts, vocabulary: 512, seed: 3 });
    const { tensors } = await openGguf(path);
    const { type, shape, offset, bytes } = tensors.get("token_embd.weight")!;
    const expected = new Float32Array(shape[0]! * shape[1]!);
    await dequantizeRows(type, (await readFile(path)).subarray(offset, offset + bytes), expected);
    const model = await loadEngine(path);
    try {
      await model.engine.settled;
      const embedding = tokenEmbedding(model.runtime.weights.globals);
      for (const token of [0, 7, 511]) {
        const row = expected.subarray(token * shape[0]!, (token + 1) * shape[0]!);
        assert.deepEqual(embedding(token), row, `token ${token}`);
      }
      for (const token of [-1, 512]) assert.ok(embedding(token).every((value) => value === 0));
    } finally {
      await model.dispose();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
