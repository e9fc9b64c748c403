import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { type LoadedModel, loadEngine } from "./load.ts";
import { NgramIndex } from "./ngram-index.ts";
import type { Sequence, SequenceRequest } from "./sequence.ts";
import { type Drafting, Speculation } from "./speculation.ts";

describe("where the last tokens have stood before", () => {
  it("is found at the place that agrees longest, the latest of equals", () => {
    const tokens = [1, 2, 3, 4, 9, 2, 3, 4, 8, 7, 2, 3, 4];
    const index = new NgramIndex(tokens);
    assert.deepEqual(index.match(), { at: 8, length: 3 });
    tokens.splice(9, 1, 1);
    assert.deepEqual(new NgramIndex(tokens).match(), { at: 4, length: 4 });
    assert.deepEqual(index.from(8, 3), [8, 1, 2]);
  });

  it("is nowhere at first, and follows the sequence as it grows", () => {
    const tokens = [5, 6];
    const index = new NgramIndex(tokens);
    assert.equal(index.match(), undefined);
    tokens.push(7, 5, 6);
    assert.equal(index.match(), undefined);
    tokens.push(7);
    assert.deepEqual(index.match(), { at: 3, length: 3 });
    tokens.push(5, 6, 7);
    assert.deepEqual(index.match(), { at: 6, length: 6 });
    assert.deepEqual(index.from(6, 7), [5, 6, 7, 5, 6, 7, 5], "what follows the end repeats");
  });

  it("is told right whatever tokens have the same hash", () => {
    let seed = 1;
    const tokens = Array.from({ length: 3000 }, () => {
      seed = (seed * 48271) % 2147483647;
      return seed % 4;
    });
    const grown: number[] = [];
    const index = new NgramIndex(grown);
    for (const token of tokens) {
      grown.push(token);
      const match = index.match();
      if (!match) continue;
      const { at, length } = match;
      assert.deepEqual(grown.slice(at - length, at), grown.slice(-length));
    }
  });
});

/** A sequence whose tokens repeat, so that there is always something to draft. */
function repeating(): Drafting & { tokens: number[] } {
  const tokens = Array.from({ length: 60 }, (_, index) => 1 + (index % 3));
  return { tokens, generatedTokens: 0, maxTokens: 1e6 };
}

describe("the account of drafts", () => {
  /** Runs steps of 10 ms, 20 with a draft of which so much is right; gives the steps and the time they took. */
  function run(steps: number, acceptedOf: (length: number) => number, draftMs = 20) {
    const speculation = new Speculation("auto", () => true);
    const sequence = repeating();
    let ms = 0;
    let tokens = 0;
    for (let step = 0; step < steps; step++) {
      const [draft] = speculation.draft([sequence]) ?? [];
      const length = draft?.length ?? 0;
      const accepted = length > 0 ? acceptedOf(length) : 0;
      const took = length > 0 ? draftMs : 10;
      speculation.observe([sequence], took, length, length > 0 ? [accepted] : []);
      ms += took;
      tokens += 1 + accepted;
    }
    return { ratio: (tokens * 10) / ms, totals: speculation.totals };
  }

  it("keeps what is never right below 2 % of the time", () => {
    const { ratio, totals } = run(3000, () => 0);
    assert.ok(totals.steps > 5, "it is tried again");
    assert.ok(ratio > 0.98, `${ratio}`);
  });

  it("keeps what gains a little less than it costs below 2 %", () => {
    let turn = 0;
    const { ratio } = run(3000, () => (turn++ % 2 === 0 ? 0 : 1));
    assert.ok(ratio > 0.98, `${ratio}`);
  });

  it("stays with what pays, and drafts more of what is right", () => {
    const { ratio, totals } = run(500, (length) => length);
    assert.ok(totals.drafted / totals.steps > 7, `${totals.drafted / totals.steps} tokens a draft`);
    assert.ok(ratio > 4, `${ratio}`);
  });

  it("never pays for drafts that take as long as their tokens", () => {
    const { ratio } = run(2000, () => 4, 55);
    assert.ok(ratio > 0.98, `${ratio}`);
  });

  it("drafts for all of a batch or for none, and no more than a step may hold", () => {
    const always = new Speculation(4, () => true);
    const other: Drafting = { tokens: [1, 2, 3, 4, 5, 6], generatedTokens: 0, maxTokens: 100 };
    assert.deepEqual(always.draft([repeating()]), [[1, 2, 3, 1]]);
    assert.equal(always.draft([repeating(), repeating()])?.length, 2);
    assert.equal(always.draft([repeating(), other]), undefined);
    assert.equal(always.draft(Array.from({ length: 4 }, repeating)), undefined);
    assert.equal(always.draft([{ ...repeating(), maxTokens: 4 }]), undefined);
    assert.equal(new Speculation("off", () => true).draft([repeating()]), undefined);
  });
});

describe("speculation in the engine", { skip: withoutSample }, () => {
  let plain: LoadedModel;
  let drafting: LoadedModel;
  before(async () => {
    const settings = { threads: 1, contextTokens: 512, maxSequences: 4 };
    plain = await loadEngine(samplePath, { ...settings, speculate: "off" });
    drafting = await loadEngine(samplePath, { ...settings, speculate: 4 });
    await Promise.all([plain.engine.settled, drafting.engine.settled]);
  });
  after(async () => {
    await Promise.all([plain?.dispose(), drafting?.dispose()]);
  });

  const copying =
    "one two three four five six seven\none two three four five six seven\none two three four five six seven\none two three";
  const prompts = [
    copying,
    "The sea was calm, and the sea was",
    "for (let i = 0; i < n; i++) {\n  for (let i",
  ];

  function submit(model: LoadedModel, prompt: string, request: Partial<SequenceRequest> = {}): Sequence {
    const tokens = model.tokenizer.encode(prompt, { addSpecial: true, parseSpecial: false });
    return model.engine.submit({
      prompt: tokens,
      maxTokens: 48,
      ignoreEnd: true,
      sampling: { temperature: 0 },
      ...request,
    });
  }

  /** All events of one sequence, its log-probabilities left out: they differ by the kernels' rounding. */
  async function heard(sequence: Sequence) {
    const tokens: number[] = [];
    let text = "";
    let reason = "";
    for await (const event of sequence) {
      text += event.text;
      if (event.type === "token") tokens.push(event.token);
      else reason = event.reason;
    }
    return { tokens, text, reason };
  }

  async function same(prompt: string, request: Partial<SequenceRequest> = {}) {
    const [without, withDrafts] = await Promise.all(
      [plain, drafting].map((model) => heard(submit(model, prompt, request))),
    );
    assert.deepEqual(withDrafts, without);
    return without!;
  }

  it("copies what repeats, in fewer steps", async () => {
    const before = drafting.engine.speculation;
    const steps = drafting.engine.records.total;
    await same(copying);
    const { accepted, drafted } = drafting.engine.speculation;
    assert.ok(accepted > before.accepted, "no draft was right");
    assert.ok(drafted > accepted - before.accepted);
    assert.ok(drafting.engine.records.total - steps < 48);
  });

  it("changes no token: greedy, drawn with a seed, penalised", async () => {
    for (const prompt of prompts) {
      await same(prompt);
      for (const seed of [1, 2, 3]) await same(prompt, { sampling: { seed, temperature: 0.7 } });
      await same(prompt, { sampling: { seed: 4, repeatPenalty: 1.3, dryMultiplier: 0.5 } });
      await same(prompt, { sampling: { seed: 5, mirostat: 2, xtcProbability: 0.5 } });
    }
  });

  it("ends at every number of tokens", async () => {
    for (let maxTokens = 1; maxTokens <= 24; maxTokens++) {
      const { tokens, reason } = await same(copying, { maxTokens });
      assert.deepEqual([tokens.length, reason], [maxTokens, "length"]);
    }
  });

  it("ends before a stop string in the middle of a draft", async () => {
    const { text } = await same(copying);
    for (const stop of [text.slice(7, 12), text.slice(20, 22), text.slice(30, 31)]) {
      const stopped = await same(copying, { sampling: { temperature: 0, stop: [stop] } });
      assert.equal(stopped.reason, "stop");
      assert.equal(stopped.text, text.slice(0, text.indexOf(stop)));
    }
  });

  it("gives each of a batch what it gets alone", async () => {
    const alone = [];
    for (const prompt of prompts) alone.push(await heard(submit(plain, prompt)));
    const together = await Promise.all(prompts.map((prompt) => heard(submit(drafting, prompt))));
    assert.deepEqual(together, alone);
    const twice = await Promise.all([copying, copying].map((prompt) => heard(submit(drafting, prompt))));
    assert.deepEqual(twice, [alone[0], alone[0]]);
  });

  it("tells a constraint of every token once, in order", async () => {
    const told: number[] = [];
    const sequence = submit(drafting, copying, {
      constraint: {
        mask: (logits) => logits.fill(Number.NEGATIVE_INFINITY, 0, 200),
        accept: (t) => told.push(t),
      },
    });
    const { tokens } = await heard(sequence);
    assert.deepEqual(told, tokens);
    assert.ok(tokens.every((token) => token >= 200));
  });

  it("reports the log-probability of each token", async () => {
    const of = async (model: LoadedModel) => {
      const found: number[] = [];
      const sequence = submit(model, copying, { sampling: { temperature: 0, logprobs: 1 } });
      for await (const event of sequence) if (event.type === "token") found.push(event.logprob!);
      return found;
    };
    const [without, withDrafts] = [await of(plain), await of(drafting)];
    assert.equal(withDrafts.length, without.length);
    for (const [index, logprob] of without.entries()) {
      assert.ok(Math.abs(logprob - withDrafts[index]!) < 0.05, `${logprob} and ${withDrafts[index]}`);
    }
  });

  it("goes on after a pause, and ends when cancelled", async () => {
    const whole = await same(copying, { maxTokens: 200 });
    const sequence = submit(drafting, copying, { maxTokens: 200 });
    const tokens: number[] = [];
    for await (const event of sequence) {
      if (event.type !== "token") continue;
      tokens.push(event.token);
      if (tokens.length === 20) {
        sequence.pause();
        setTimeout(() => sequence.resume(), 20);
      }
    }
    assert.deepEqual(tokens, whole.tokens);
    const cancelled = submit(drafting, copying, { maxTokens: 200 });
    for await (const event of cancelled) if (event.type === "token") cancelled.cancel();
    assert.equal(cancelled.finished, true);
    // What it left is a prefix that others start from.
    await same(copying, { maxTokens: 30 });
  });
});
