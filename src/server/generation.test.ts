import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { choicesOf, type Input, keepAliveSeconds, reasonOf } from "./generation.ts";
import { completionRequest } from "./schemas/completion.ts";

const text = (value: string): Input => ({ input: { text: value }, field: "prompt" });
const noLimits = { maxTokens: undefined, logprobs: undefined };

describe("how long a model stays", () => {
  const durations: [given: number | string | null | undefined, seconds: number | undefined][] = [
    [undefined, undefined],
    [null, undefined],
    [0, 0],
    [30, 30],
    [1.5, 1.5],
    [1e-7, 1e-7],
    [1e9, 1e9],
    [-1, Number.POSITIVE_INFINITY],
    [-0.5, Number.POSITIVE_INFINITY],
    ["-1", Number.POSITIVE_INFINITY],
    ["0", 0],
    ["90", 90],
    ["250ms", 0.25],
    ["90s", 90],
    ["10m", 600],
    ["1.5h", 5400],
  ];
  for (const [given, seconds] of durations) {
    it(`is ${seconds} s for ${JSON.stringify(given)}`, () => {
      const body = completionRequest.parse({ model: "m", prompt: "p", keep_alive: given });
      assert.equal(keepAliveSeconds(body.keep_alive), seconds);
    });
  }

  it("is nothing else", () => {
    for (const given of [
      -2,
      1e10,
      "",
      "m",
      "1d",
      "1 m",
      "-5s",
      "1e3",
      ".5h",
      "1.h",
      "٣s",
      "10m\n",
      "1h30m",
    ]) {
      const { success } = completionRequest.safeParse({ model: "m", prompt: "p", keep_alive: given });
      assert.equal(success, false, JSON.stringify(given));
    }
  });
});

describe("the choices of a request", () => {
  it("are one where nothing is said, with nothing that was not asked for", () => {
    assert.deepEqual(choicesOf([text("a")], {}, noLimits), [
      { input: { text: "a" }, field: "prompt", sampling: {} },
    ]);
  });

  it("are n for each input, those of one input side by side", () => {
    const choices = choicesOf([text("a"), text("b")], { n: 3 }, noLimits);
    const texts = choices.map(({ input }) => "text" in input && input.text);
    assert.deepEqual(texts, ["a", "a", "a", "b", "b", "b"]);
  });

  it("have seeds one after the other, all of them safe", () => {
    const seeds = (seed: number) =>
      choicesOf([text("a"), text("b")], { n: 2, seed }, noLimits).map(({ sampling }) => sampling.seed);
    assert.deepEqual(seeds(7), [7, 8, 9, 10]);
    assert.deepEqual(seeds(-2), [-2, -1, 0, 1]);
    const highest = seeds(Number.MAX_SAFE_INTEGER);
    assert.equal(new Set(highest).size, 4);
    assert.ok(highest.every(Number.isSafeInteger));
  });

  it("are drawn as the fields say; null is as if it were not there", () => {
    const fields = {
      temperature: 0,
      top_p: 0.9,
      top_k: 40,
      min_p: null,
      typical_p: 0.9,
      top_n_sigma: 2,
      xtc_probability: 0.5,
      xtc_threshold: 0.2,
      dry_multiplier: 0.8,
      dry_base: 2,
      dry_allowed_length: 3,
      dry_penalty_last_n: 99,
      dry_sequence_breakers: ["."],
      mirostat: 2,
      mirostat_tau: 4,
      mirostat_eta: 0.2,
      logit_bias: { 7: -1 },
      frequency_penalty: 1,
      presence_penalty: -1,
      repeat_penalty: 1.1,
      seed: null,
      stop: "end",
      ignore_eos: true,
    };
    const [choice] = choicesOf([text("a")], fields, { maxTokens: 5, logprobs: 0 });
    assert.deepEqual(choice, {
      input: { text: "a" },
      field: "prompt",
      maxTokens: 5,
      ignoreEnd: true,
      sampling: {
        temperature: 0,
        topP: 0.9,
        topK: 40,
        typicalP: 0.9,
        topNSigma: 2,
        xtcProbability: 0.5,
        xtcThreshold: 0.2,
        dryMultiplier: 0.8,
        dryBase: 2,
        dryAllowedLength: 3,
        dryPenaltyLastN: 99,
        drySequenceBreakers: ["."],
        mirostat: 2,
        mirostatTau: 4,
        mirostatEta: 0.2,
        logitBias: { 7: -1 },
        frequencyPenalty: 1,
        presencePenalty: -1,
        repeatPenalty: 1.1,
        stop: ["end"],
        logprobs: 0,
      },
    });
  });

  it("end for the reasons that OpenAI knows", () => {
    const counts = {
      type: "finished",
      id: 1,
      text: "",
      promptTokens: 1,
      cachedTokens: 0,
      generatedTokens: 1,
    } as const;
    assert.equal(reasonOf({ ...counts, reason: "stop" }), "stop");
    assert.equal(reasonOf({ ...counts, reason: "length" }), "length");
    assert.equal(reasonOf({ ...counts, reason: "cancelled" }), "length");
  });
});
