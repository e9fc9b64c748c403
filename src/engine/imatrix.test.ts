import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { sumsByLlama } from "../../test/imatrix-peer.ts";
import { sampleTexts } from "../../test/sample-texts.ts";
import { tinyShapes } from "../../test/tiny-model.ts";
import { openGguf } from "../gguf/read.ts";
import type { Importance } from "../model/importance.ts";
import { quantizeModel } from "../model/quantize.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { makeImportance } from "./imatrix.ts";
import { type LoadOptions, loadEngine } from "./load.ts";

const text = sampleTexts.prose.slice(0, 300);
const chunkTokens = 48;

/** libllama has no Gemma 2 of two layers; encoders predict nothing. */
const architectures = Object.keys(tinyShapes).filter((name) => name !== "gemma2" && !name.endsWith("bert"));

describe("makeImportance", () => {
  let folder: string;
  const at = (architecture: string) => join(folder, `${architecture}.gguf`);
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-make-importance-"));
    for (const architecture of architectures) {
      // libllama knows Gemma with tied embeddings only.
      const tiedEmbeddings = architecture.startsWith("gemma");
      const shape = { ...tinyShapes[architecture]!, tiedEmbeddings };
      await writeSyntheticModel(at(architecture), { ...shape, type: "F32", seed: 7 });
    }
  });
  after(() => rmSync(folder, { recursive: true }));

  async function importanceOf(architecture: string, options: LoadOptions = {}): Promise<Importance> {
    const sizes = { contextTokens: chunkTokens, maxSequences: 1, kvTokens: chunkTokens, threads: 1 };
    const model = await loadEngine(at(architecture), { ...sizes, ...options });
    try {
      return await makeImportance(model, text, { chunkTokens, dataset: "prose" });
    } finally {
      await model.dispose();
    }
  }

  for (const architecture of architectures) {
    it(`${architecture}: sums what libllama's products are given, by column and expert`, async () => {
      const { entries, chunks, datasets } = await importanceOf(architecture);
      const expected = await sumsByLlama(at(architecture), text, chunkTokens);
      assert.ok(chunks >= 2, `${chunks} chunks`);
      assert.deepEqual(datasets, ["prose"]);
      // Routers are never quantised.
      const names = [...expected.keys()].filter((name) => !name.includes("ffn_gate_inp"));
      assert.deepEqual([...entries.keys()].sort(), names.sort());
      let compared = 0;
      for (const name of names) {
        const { sums, counts } = entries.get(name)!;
        const theirs = expected.get(name)!;
        assert.equal(sums.length, theirs.sums.length, name);
        const apart = counts.reduce(
          (sum, count, expert) => sum + Math.abs(count - theirs.counts[expert]!),
          0,
        );
        // Where two experts are as good as each other, rounding decides.
        assert.ok(apart <= 4, `${name}: ${counts} and ${theirs.counts}`);
        if (apart > 0) continue;
        compared++;
        const mean = theirs.sums.reduce((sum, value) => sum + value) / sums.length;
        sums.forEach((value, column) => {
          const difference = Math.abs(value - theirs.sums[column]!);
          const most = 1e-3 * (mean + theirs.sums[column]!);
          assert.ok(difference < most, `${name} ${column}: ${value} and ${theirs.sums[column]}`);
        });
      }
      assert.ok(compared > 0.6 * names.length, `${compared} of ${names.length} compared`);
    });
  }

  it("gives the same, bit by bit, with a budget for experts, and nearly in smaller steps", async () => {
    const all = await importanceOf("qwen3moe");
    assert.deepEqual(await importanceOf("qwen3moe", { expertMemory: "50%", prepare: "never" }), all);
    const { entries } = await importanceOf("qwen3moe", { stepTokens: 47 });
    for (const [name, { sums, counts }] of all.entries) {
      const stepwise = entries.get(name)!;
      const sum = (values: Float32Array) => values.reduce((a, b) => a + b, 0);
      // Kernels round differently, so that a token may choose another expert.
      assert.equal(sum(stepwise.counts), sum(counts), name);
      assert.ok(Math.abs(sum(stepwise.sums) / sum(sums) - 1) < 1e-2, name);
    }
  });

  it("serves to quantise the model in types that need it", async () => {
    const importance = await importanceOf("qwen3moe");
    const output = join(folder, "small.gguf");
    await quantizeModel(at("qwen3moe"), output, { recipe: "Q2_K_S", importance, threads: 1 });
    const { tensors } = await openGguf(output);
    assert.equal(tensors.get("blk.1.ffn_up_exps.weight")?.type, "Q2_K");
  });
});
