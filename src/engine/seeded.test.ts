/**
 * A request with a seed draws the same tokens, whatever shares its batch. On a model of which the kernels round one row
 * and several alike: a dense one in Q4_0.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { writeSyntheticModel } from "../model/synth.ts";
import { type LoadedModel, loadEngine } from "./load.ts";
import type { SamplingParams } from "./sampling/params.ts";
import type { Sequence } from "./sequence.ts";

const requests: { readonly prompt: readonly number[]; readonly sampling: SamplingParams }[] = [
  { prompt: [5, 6, 7], sampling: { seed: 1, temperature: 1 } },
  { prompt: [80, 81, 82, 83, 84], sampling: { seed: 2, typicalP: 0.9, repeatPenalty: 1.2 } },
  { prompt: [9], sampling: { seed: 3, mirostat: 2 } },
  { prompt: [200, 5, 200, 5], sampling: { seed: 4, xtcProbability: 0.5, dryMultiplier: 0.8 } },
];

describe("a seeded request", () => {
  const folder = mkdtempSync(join(tmpdir(), "stowage-seeded-"));
  let model: LoadedModel;
  const alone: number[][] = [];
  before(async () => {
    const path = join(folder, "dense.gguf");
    await writeSyntheticModel(path, {
      ...{ architecture: "llama", layers: 2, width: 256, heads: 4, kvHeads: 2, headWidth: 64 },
      ...{ feedForwardWidth: 256, experts: 0, expertsUsed: 0, expertWidth: 0, vocabulary: 300 },
      ...{ context: 512, ropeBase: 10_000, normEpsilon: 1e-5, type: "Q4_0", seed: 3 },
    });
    // Fewer cells than four long answers need, so that some are preempted.
    model = await loadEngine(path, {
      ...{ threads: 1, contextTokens: 512, maxSequences: 4, kvTokens: 1024, speculate: "off" },
    });
    await model.engine.settled;
    for (const { prompt, sampling } of requests) alone.push(await tokensOf(submit(prompt, sampling)));
  });
  after(async () => {
    await model?.dispose();
    rmSync(folder, { recursive: true });
  });

  function submit(prompt: readonly number[], sampling: SamplingParams, maxTokens = 40): Sequence {
    return model.engine.submit({ prompt, maxTokens, ignoreEnd: true, sampling });
  }

  async function tokensOf(sequence: Sequence): Promise<number[]> {
    const tokens: number[] = [];
    for await (const event of sequence) if (event.type === "token") tokens.push(event.token);
    return tokens;
  }

  it("gets the same tokens alone, again", async () => {
    model.engine.clearCache();
    for (const [index, { prompt, sampling }] of requests.entries()) {
      assert.deepEqual(await tokensOf(submit(prompt, sampling)), alone[index]);
    }
  });

  it("gets them in batches of others, in any order, of other lengths", async () => {
    for (const order of [
      [0, 1, 2, 3],
      [3, 1, 0],
      [2, 0],
    ]) {
      model.engine.clearCache();
      const together = order.map((index) => submit(requests[index]!.prompt, requests[index]!.sampling));
      const other = submit([3, 1, 4, 1, 5, 9, 2, 6, 5, 3], { seed: 9 }, 12);
      const got = await Promise.all([...together, other].map(tokensOf));
      for (const [place, index] of order.entries()) assert.deepEqual(got[place], alone[index]);
    }
  });

  it("gets them when it starts from a prefix, and in the middle of another's answer", async () => {
    const running = submit([250, 251], { seed: 7 }, 60);
    const [first] = requests;
    for await (const event of running) {
      if (event.type !== "token") continue;
      assert.deepEqual(await tokensOf(submit(first!.prompt, first!.sampling)), alone[0]);
      break;
    }
    running.cancel();
    const again = submit(first!.prompt, first!.sampling);
    assert.deepEqual(await tokensOf(again), alone[0]);
    assert.ok(again.cachedTokens > 0, "there was no prefix");
  });

  it("gets them when it is preempted and paused", async () => {
    model.engine.clearCache();
    const long = requests.map(({ prompt, sampling }) => submit(prompt, sampling, 300));
    let preempted = 0;
    const watch = setInterval(() => {
      const { waiting } = model.engine.load;
      if (waiting > 0) preempted++;
    }, 1);
    const got = await Promise.all(long.map(tokensOf));
    clearInterval(watch);
    assert.ok(preempted > 0, "there was room for all");
    for (const [index, tokens] of got.entries()) assert.deepEqual(tokens.slice(0, 40), alone[index]);

    const sequence = submit(requests[1]!.prompt, requests[1]!.sampling);
    const tokens: number[] = [];
    for await (const event of sequence) {
      if (event.type !== "token") continue;
      tokens.push(event.token);
      if (tokens.length === 10) {
        sequence.pause();
        setTimeout(() => sequence.resume(), 10);
      }
    }
    assert.deepEqual(tokens, alone[1]);
  });
});
