import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { after, before, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { llamaSide, type ReplaySamples, Side } from "../workload/side.ts";

describe("a replay of given tokens", { skip: withoutSample }, () => {
  const options = {
    modelPath: samplePath,
    threads: availableParallelism(),
    contextTokens: 256,
    sequences: 1,
  };
  const prompt: number[] = [];
  const forced: number[] = [];
  let ours: Side;
  let theirs: Side;
  before(async () => {
    const tokenizer = await Tokenizer.load(samplePath);
    const text = "It was a dark and stormy night, and the captain looked at the sea for a long time.";
    const tokens = tokenizer.encode(text, { addSpecial: true, parseSpecial: false });
    tokenizer.dispose();
    prompt.push(...tokens.slice(0, 8));
    forced.push(...tokens.slice(8));
    ours = await Side.start(new URL("stowage-side.ts", import.meta.url), options);
    theirs = await Side.start(llamaSide, { ...options, mmap: true, repack: false });
  });
  after(() => Promise.all([ours?.stop(), theirs?.stop()]));

  it("does the same work on both sides", async () => {
    const samples = [await ours.replay(prompt, forced), await theirs.replay(prompt, forced)] as const;
    for (const { prefill, decode, best } of samples) {
      assert.equal(prefill.milliseconds.length, 1);
      assert.equal(decode.milliseconds.length, forced.length);
      assert.equal(best.length, forced.length + 1);
    }
    // Kernels of the two layouts round differently: a near tie may fall either way.
    const [a, b] = samples as [ReplaySamples, ReplaySamples];
    const agreeing = a.best.filter((token, index) => token === b.best[index]).length;
    assert.ok(agreeing >= a.best.length - 1, `${agreeing} of ${a.best.length} agree`);
    assert.ok(new Set(a.best).size > 3, "the choice follows what was given");
  });

  it("gives the same again, and another answer to other tokens", async () => {
    for (const side of [ours, theirs]) {
      const first = await side.replay(prompt, forced);
      assert.deepEqual((await side.replay(prompt, forced)).best, first.best);
      const other = await side.replay(prompt, forced.toReversed());
      assert.equal(other.best[0], first.best[0]);
      assert.notDeepEqual(other.best.slice(1), first.best.slice(1));
    }
  });

  it("without given tokens it is the prompt alone", async () => {
    for (const side of [ours, theirs]) {
      const { decode, best } = await side.replay(prompt, []);
      assert.deepEqual([decode.milliseconds, best.length], [[], 1]);
    }
  });

  it("our side tells what it planned", async () => {
    const { peakBytes, planBytes } = await ours.memory();
    assert.ok(planBytes! > 20e6 && planBytes! < peakBytes * 2, `${planBytes} planned`);
    assert.equal((await theirs.memory()).planBytes, undefined);
  });
});
