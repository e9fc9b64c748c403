import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StowageError } from "../../errors.ts";
import { resolveSampling, type SamplingParams } from "./params.ts";
import { Sampler } from "./sampler.ts";
import { penalise, rank, softmax, truncate } from "./test-reference.ts";

const someLogits = (length: number) =>
  fc
    .array(fc.oneof(fc.float({ noNaN: true, min: -9, max: 9 }), fc.integer({ min: -2, max: 2 })), {
      minLength: length,
      maxLength: length,
    })
    .map((xs) => Float32Array.from(xs));

/** Logits of a made-up vocabulary, the same every time. */
function fixedLogits(vocab: number, spread: number): Float32Array {
  return Float32Array.from({ length: vocab }, (_, i) => spread * Math.sin(1 + i * i * 1.3));
}

test("greedy takes the first of the penalised ranking", () => {
  fc.assert(
    fc.property(
      someLogits(30),
      fc.array(fc.nat(29), { maxLength: 10 }),
      fc.boolean(),
      (logits, seen, penal) => {
        const params = resolveSampling({
          temperature: 0,
          ...(penal && { repeatPenalty: 1.5, presencePenalty: 1 }),
        });
        const sampler = new Sampler(params, 30);
        sampler.begin(seen);
        assert.deepEqual(sampler.sample(logits), { token: rank(penalise(logits, seen, params))[0]!.token });
      },
    ),
    { numRuns: 1000 },
  );
});

const chains: SamplingParams[] = [
  {},
  { temperature: 1, topK: 0, topP: 1, minP: 0 },
  { temperature: 2, topK: 0, topP: 0.8, minP: 0 },
  { temperature: 0.3, topK: 12, topP: 1, minP: 0.2 },
  { repeatPenalty: 1.3, frequencyPenalty: 0.2, presencePenalty: 0.1, penaltyLastN: 4 },
  { typicalP: 0.7, topK: 0 },
  { topNSigma: 1, xtcProbability: 1, xtcThreshold: 0.05, temperature: 1.5 },
];

for (const params of chains) {
  test(`drawn frequencies fit the distribution of ${JSON.stringify(params)}`, () => {
    const vocab = 64;
    const draws = 40_000;
    const logits = fixedLogits(vocab, 3);
    const seen = [5, 9, 5, 60, 33, 5];
    const resolved = resolveSampling({ ...params, seed: 20250101 });
    const sampler = new Sampler(resolved, vocab);
    sampler.begin(seen);
    const counts = new Array<number>(vocab).fill(0);
    for (let i = 0; i < draws; i++) counts[sampler.sample(logits).token]! += 1;

    const kept = truncate(rank(penalise(logits, seen, resolved)), resolved);
    const expected = softmax(kept, resolved.temperature).map((p) => p * draws);
    const drawn = kept.reduce((sum, { token }) => sum + counts[token]!, 0);
    assert.equal(drawn, draws, "a token that the chain removed was drawn");
    // Pearson's statistic over the tokens expected at least 5 times, the others together in one more cell.
    const often = expected.filter((e) => e >= 5).length;
    const rareExpected = expected.slice(often).reduce((sum, e) => sum + e, 0);
    const rareCount = kept.slice(often).reduce((sum, { token }) => sum + counts[token]!, 0);
    let chi2 = rareExpected > 0 ? (rareCount - rareExpected) ** 2 / Math.max(rareExpected, 5) : 0;
    for (let i = 0; i < often; i++) chi2 += (counts[kept[i]!.token]! - expected[i]!) ** 2 / expected[i]!;
    // A right sampler's statistic has mean f and variance 2f at f degrees of freedom; the bound is 5 deviations up.
    const freedom = often;
    assert.ok(kept.length > 3, "the case is too easy");
    assert.ok(chi2 < freedom + 5 * Math.sqrt(2 * freedom), `chi-square ${chi2} at ${freedom} degrees`);
  });
}

test("the same seed and logits give the same tokens; another seed gives others", () => {
  const logits = fixedLogits(500, 2);
  const run = (seed: number, topK: number) => {
    const sampler = new Sampler(resolveSampling({ seed, topK, repeatPenalty: 1.1 }), 500);
    return Array.from({ length: 50 }, () => {
      const { token } = sampler.sample(logits);
      sampler.accept(token);
      return token;
    }).join();
  };
  for (const topK of [0, 40]) {
    assert.equal(run(3, topK), run(3, topK));
    assert.notEqual(run(3, topK), run(4, topK));
  }
});

test("equal logits under top_k keep the lowest ids", () => {
  const sampler = new Sampler(resolveSampling({ topK: 3, topP: 1, seed: 1 }), 50);
  const drawn = new Set(Array.from({ length: 200 }, () => sampler.sample(new Float32Array(50)).token));
  assert.deepEqual([...drawn].sort(), [0, 1, 2]);
});

test("logprobs are the log-softmax of the raw logits, whatever the chain does", () => {
  fc.assert(
    fc.property(
      someLogits(40),
      fc.integer({ min: 0, max: 20 }),
      fc.constantFrom(0, 0.7, 2),
      fc.constantFrom(1, 1.5),
      fc.nat(39),
      (logits, logprobs, temperature, repeatPenalty, masked) => {
        logits[masked] = -Infinity;
        const sampler = new Sampler(resolveSampling({ logprobs, temperature, repeatPenalty, seed: 5 }), 40);
        sampler.accept(rank(logits)[0]!.token);
        const { token, logprob, top } = sampler.sample(logits);

        const ranked = rank(logits);
        const reference = softmax(ranked).map(Math.log);
        const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-11, `${a} is not ${b}`);
        close(logprob!, reference[ranked.findIndex((r) => r.token === token)]!);
        assert.deepEqual(
          top!.map((t) => t.token),
          ranked.slice(0, logprobs).map((r) => r.token),
        );
        for (const [i, t] of top!.entries()) close(t.logprob, reference[i]!);
      },
    ),
    { numRuns: 1000 },
  );
});

test("a bias is added before everything else, and no more than that", () => {
  const logits = Float32Array.from([1, 2, 3, 2.5]);
  const taken = (params: SamplingParams) => {
    const sampler = new Sampler(resolveSampling({ temperature: 0, ...params }), 4);
    sampler.begin([1, 2]);
    return sampler.sample(logits).token;
  };
  assert.equal(taken({}), 2);
  assert.equal(taken({ logitBias: { 0: 2.5 } }), 0);
  assert.equal(taken({ logitBias: { 2: -100, 3: -100 } }), 1);
  // 2 + 2 is penalised to 2, below 2.5.
  assert.equal(taken({ logitBias: { 1: 2, 2: -100 }, repeatPenalty: 2 }), 3);
  assert.throws(() => taken({ logitBias: { 4: 1 } }), /logitBias is for the token 4; .* below 4/);
  assert.deepEqual(
    new Sampler(resolveSampling({ logitBias: { 0: 50 }, logprobs: 1, seed: 1 }), 4).sample(logits).top,
    new Sampler(resolveSampling({ logprobs: 1, seed: 1 }), 4).sample(logits).top,
    "log-probabilities are the model's own",
  );
});

test("a constraint masks before the chain, and hears of the output's tokens alone", () => {
  const heard: number[] = [];
  const even = {
    mask: (logits: Float32Array) => {
      for (let token = 1; token < logits.length; token += 2) logits[token] = -Infinity;
    },
    accept: (token: number) => heard.push(token),
  };
  const logits = Float32Array.from([0, 9, 1, 8, 2]);
  for (const params of [
    { temperature: 0 },
    { topK: 1 },
    { topK: 0, topP: 0.1 },
    { minP: 1 },
    { mirostat: 2, mirostatTau: 0 },
  ]) {
    const sampler = new Sampler(resolveSampling(params), 5, { constraint: even });
    sampler.begin([1, 3]);
    const { token } = sampler.sample(logits);
    assert.equal(token, 4);
    sampler.accept(token);
  }
  assert.deepEqual(heard, [4, 4, 4, 4, 4]);
  assert.deepEqual([...logits], [0, 9, 1, 8, 2]);
});

test("logits stay as they are", () => {
  const logits = fixedLogits(100, 3);
  const before = logits.slice();
  const sampler = new Sampler(resolveSampling({ repeatPenalty: 2, logprobs: 3 }), 100);
  for (let i = 0; i < 10; i++) sampler.accept(sampler.sample(logits).token);
  assert.deepEqual(logits, before);
});

test("logits that cannot be sampled are refused, with the position", () => {
  const refused = (logits: number[], params: SamplingParams): [string, unknown] => {
    try {
      new Sampler(resolveSampling(params), 5).sample(Float32Array.from(logits));
    } catch (error) {
      assert.ok(error instanceof StowageError);
      return [error.code, error.details.position];
    }
    return ["none", undefined];
  };
  for (const params of [{ temperature: 0 }, {}, { topK: 2 }, { repeatPenalty: 1.1 }, { logprobs: 1 }]) {
    assert.deepEqual(refused([1, 2, 3, NaN, 0], params), ["logits_not_finite", 3]);
    assert.deepEqual(refused([1, Infinity, 3, 0, 0], params), ["logits_not_finite", 1]);
    assert.equal(refused(new Array(5).fill(-Infinity), params)[0], "logits_all_masked");
    assert.equal(refused([1, 2, 3], params)[0], "logits_size");
    assert.equal(refused([-Infinity, -Infinity, -80, -Infinity, -Infinity], params)[0], "none");
  }
});
