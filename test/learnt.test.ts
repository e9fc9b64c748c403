/** What policies learn outlives the engine, and changes no token. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type LoadOptions, loadEngine } from "../src/engine/load.ts";
import { learntPath } from "../src/experts/learnt.ts";
import { writeSyntheticModel } from "../src/model/synth.ts";
import { tinyExperts } from "./expert-models.ts";

describe("what fmoe has learnt of a model", () => {
  let folder: string;
  let path: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "stowage-learnt-"));
    path = join(folder, "model.gguf");
    await writeSyntheticModel(path, { ...tinyExperts, experts: 16, vocabulary: 512, context: 256, seed: 11 });
  });
  after(() => rm(folder, { recursive: true }));

  /** Answers one prompt. @returns its tokens, and whether the first step wanted anything: whether maps were there */
  async function answer(options: LoadOptions = {}, model = path) {
    const settings = {
      contextTokens: 256,
      maxSequences: 1,
      expertMemory: "50%",
      expertPolicy: "fmoe",
    } as const;
    const loaded = await loadEngine(model, { ...settings, ...options });
    try {
      const { prefetch } = loaded.experts!.policy;
      const wanted = prefetch!.began!([{ request: 9, token: 5, position: 0 }], { tick: 0, layer: -1 });
      const tokens: number[] = [];
      const prompt = Array.from({ length: 20 }, (_, index) => 7 * index + 3);
      const sampling = { temperature: 0 };
      for await (const event of loaded.engine.submit({ prompt, maxTokens: 24, ignoreEnd: true, sampling }))
        if (event.type === "token") tokens.push(event.token);
      return { tokens, knew: wanted!.length > 0 };
    } finally {
      await loaded.dispose();
    }
  }

  test("is there after a restart; tokens are the same, also where nothing is kept or the file is damaged", async () => {
    const file = learntPath(path, "fmoe");
    const first = await answer();
    assert.equal(first.tokens.length, 24);
    assert.equal(first.knew, false);
    // 23 decode steps, a map each, and the uses.
    assert.ok(statSync(file).size > 23 * 4 * 128);
    const sound = await readFile(file);
    assert.deepEqual(await answer({ learnt: "none" }), first);
    assert.deepEqual(await readFile(file), sound, "left as it was");
    assert.deepEqual(await answer(), { ...first, knew: true });

    await writeFile(file, sound.subarray(0, -9));
    assert.deepEqual(await answer(), first);
    await copyFile(path, join(folder, "other.gguf"));
    await writeFile(learntPath(join(folder, "other.gguf"), "fmoe"), sound);
    assert.deepEqual(
      await answer({}, join(folder, "other.gguf")),
      { ...first, knew: true },
      "the same model",
    );
  });

  test("nothing is written where the model is read as it is, nor by a policy of which nothing is kept", async () => {
    const before = readdirSync(folder);
    await rm(learntPath(path, "fmoe"), { force: true });
    await answer({ prepare: "never" });
    assert.equal(existsSync(learntPath(path, "fmoe")), false);
    const left = before.filter((name) => name !== "model.gguf.fmoe.learnt");
    assert.deepEqual(readdirSync(folder), left);
    await answer({ expertPolicy: "moe-infinity" });
    assert.deepEqual(readdirSync(folder), left);
  });
});
