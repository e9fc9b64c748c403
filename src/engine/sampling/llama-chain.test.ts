/** The chain beside libllama's own samplers, on the same logits. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { samplePath, withoutSample } from "../../../test/sample-model.ts";
import { LlamaModel } from "../../ggml/llama-model.ts";
import { LlamaSampler, type LlamaSamplerSpec } from "../../ggml/llama-sampler.ts";
import { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { breakersOf } from "./breakers.ts";
import { Candidates } from "./candidates.ts";
import { Dry } from "./dry.ts";
import { Mirostat } from "./mirostat.ts";
import { type ResolvedSampling, resolveSampling, type SamplingParams } from "./params.ts";
import { Xoshiro128 } from "./random.ts";
import { Sampler } from "./sampler.ts";

const vocabulary = 8192;
/** libllama adds in F32, and cuts that fall this close to a token are not decided. */
const slack = 2e-5;

const random = Xoshiro128.fromSeed(20);

/** Normal logits, some tokens well above the others: as a language model's look. */
function someLogits(size: number): Float32Array {
  const logits = Float32Array.from({ length: size }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.nextUnit()));
    return 2.5 * radius * Math.cos(2 * Math.PI * random.nextUnit());
  });
  for (let i = 0; i < 12; i++) logits[Math.floor(random.nextUnit() * size)] = 9 + 4 * random.nextUnit();
  return logits;
}

function sorted(tokens: Iterable<number>): number[] {
  return [...tokens].sort((a, b) => a - b);
}

/** libllama's samplers for these parameters, in its default order, up to the temperature. */
function truncation(p: ResolvedSampling): LlamaSamplerSpec[] {
  return [
    { kind: "top_n_sigma", n: p.topNSigma },
    { kind: "top_k", k: p.topK },
    { kind: "typical", p: p.typicalP },
    { kind: "top_p", p: p.topP },
    { kind: "min_p", p: p.minP },
    { kind: "xtc", probability: p.xtcProbability, threshold: p.xtcThreshold, seed: 1 },
  ];
}

function ownKept(logits: Float32Array, params: ResolvedSampling): number[] {
  const candidates = new Candidates(params, logits.length, Xoshiro128.fromSeed(1));
  candidates.select(logits);
  return sorted(candidates.tokens.subarray(0, candidates.count));
}

function moved(p: ResolvedSampling, by: number): ResolvedSampling {
  const shift = (value: number) => (value <= 0 || value >= 1 ? value : value + by);
  return {
    ...p,
    topNSigma: p.topNSigma > 0 ? p.topNSigma + by : p.topNSigma,
    typicalP: shift(p.typicalP),
    topP: shift(p.topP),
    minP: shift(p.minP),
    xtcThreshold: shift(p.xtcThreshold),
  };
}

describe("beside libllama", { skip: withoutSample }, () => {
  let model: LlamaModel;
  let tokenizer: Tokenizer;
  before(async () => {
    model = await LlamaModel.load(samplePath, { vocabOnly: true });
    tokenizer = await Tokenizer.load(samplePath);
  });
  after(() => {
    tokenizer.dispose();
    model.dispose();
  });

  const off: SamplingParams = { topK: 0, topP: 1, minP: 0 };
  const cases: SamplingParams[] = [
    { ...off, typicalP: 0.3 },
    { ...off, typicalP: 0.9 },
    { ...off, typicalP: 0.9, topP: 0.7 },
    { ...off, topNSigma: 1 },
    { ...off, topNSigma: 3.5 },
    { ...off, topNSigma: 2, topP: 0.8 },
    { ...off, xtcProbability: 1, xtcThreshold: 0.05 },
    { ...off, xtcProbability: 1, xtcThreshold: 0.2 },
    { ...off, xtcProbability: 1, xtcThreshold: 0.51 },
    { topK: 20, typicalP: 0.6, minP: 0.02 },
    { typicalP: 0.8, topP: 0.9, xtcProbability: 1 },
    { topNSigma: 1.5, topK: 8, topP: 1, minP: 0 },
    { topK: 30, topP: 0.9, minP: 0.01, xtcProbability: 1, xtcThreshold: 0.08 },
    {},
  ];
  for (const params of cases) {
    it(`the same tokens are kept with ${JSON.stringify(params)}`, () => {
      const resolved = resolveSampling(params);
      const peer = new LlamaSampler(truncation(resolved));
      let decided = 0;
      const sizes = new Set<number>();
      for (let round = 0; round < 30; round++) {
        const logits = someLogits(400);
        const kept = ownKept(logits, resolved);
        const near = [slack, -slack].map((by) => String(ownKept(logits, moved(resolved, by))));
        if (near.some((other) => other !== String(kept))) continue;
        decided++;
        sizes.add(kept.length);
        assert.deepEqual(kept, sorted(peer.apply(logits).logits.keys()));
      }
      assert.ok(decided > 20, `${decided} of 30 were decided`);
      assert.ok(sizes.size > 1 || params.topK === 8 || kept8(params), "the cases are all alike");
      peer.dispose();
    });
  }

  it("what comes out of the whole chain at a high temperature is what libllama keeps", () => {
    const logitBias = { 5: 9, 6: -100, 9: 4.5 };
    const seen = [5, 9, 5, 9, 33, 5, 9];
    const params = { temperature: 10, topK: 12, topP: 0.95, minP: 0.001, topNSigma: 4, typicalP: 0.97 };
    const more = { logitBias, repeatPenalty: 1.2, frequencyPenalty: 0.1, penaltyLastN: 6, dryMultiplier: 2 };
    const resolved = resolveSampling({ ...params, ...more, xtcProbability: 1, seed: 3 });
    const peer = new LlamaSampler([
      { kind: "logit_bias", bias: logitBias, vocabulary },
      { kind: "penalties", vocabulary, lastN: 6, repeat: 1.2, frequency: 0.1, presence: 0 },
      dryOf(resolved),
      ...truncation(resolved),
    ]);
    const breakers = breakersOf(tokenizer, resolved);
    const sampler = new Sampler(resolved, vocabulary, { breakers });
    sampler.begin(seen);
    for (const token of seen) peer.accept(token);
    for (let round = 0; round < 5; round++) {
      const logits = someLogits(vocabulary);
      logits[5] = 4;
      const drawn = new Set(Array.from({ length: 400 }, () => sampler.sample(logits).token));
      assert.deepEqual(sorted(drawn), sorted(peer.apply(logits).logits.keys()));
    }
    peer.dispose();
  });

  // libllama has no -1 for all tokens any more.
  const dryOf = (p: ResolvedSampling): LlamaSamplerSpec => ({
    ...{ kind: "dry", model, multiplier: p.dryMultiplier, base: p.dryBase },
    ...{
      allowedLength: p.dryAllowedLength,
      lastN: p.dryPenaltyLastN < 0 ? 4096 : p.dryPenaltyLastN,
      breakers: p.drySequenceBreakers,
    },
  });

  it("DRY takes the same off the same tokens", () => {
    const text = 'Alice: "No."\n\nBob: yes *and* no\nAlice: yes and no, yes and';
    const alphabet = [...new Set(tokenizer.encode(text, { addSpecial: false, parseSpecial: false }))];
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...alphabet.slice(0, 14)), { minLength: 1, maxLength: 120 }),
        fc.constantFrom(undefined, [], ["\n\n", "Bob:", "es "], ["lice: yes"]),
        fc.constantFrom(0, 1, 2, 3),
        fc.constantFrom(-1, 10, 60),
        (seen, drySequenceBreakers, dryAllowedLength, dryPenaltyLastN) => {
          const params = resolveSampling({
            ...{ dryMultiplier: 0.8, dryAllowedLength, dryPenaltyLastN },
            ...(drySequenceBreakers && { drySequenceBreakers }),
          });
          const peer = new LlamaSampler([dryOf(params)]);
          const dry = new Dry(params, breakersOf(tokenizer, params));
          // Twice over, so that there is something to repeat.
          for (const token of [...seen, ...seen.slice(0, seen.length >> 1)]) {
            peer.accept(token);
            dry.accept(token);
          }
          const logits = new Float32Array(vocabulary).fill(1);
          const { logits: theirs } = peer.apply(logits);
          dry.apply(logits);
          for (const [token, logit] of logits.entries()) {
            const gap = Math.abs(logit - theirs.get(token)!);
            assert.ok(gap <= 1e-5 * Math.abs(logit) + 1e-5, `${token}: ${logit}, not ${theirs.get(token)}`);
          }
          peer.dispose();
        },
      ),
      { numRuns: 120, seed: 9 },
    );
  });

  for (const version of [1, 2] as const) {
    for (const temperature of [0.7, 1, 1.6]) {
      it(`Mirostat ${version} keeps the same tokens at temperature ${temperature} as it learns`, () => {
        const [tau, eta] = [3, 0.3];
        const params = resolveSampling({
          ...{ temperature, mirostat: version, mirostatTau: tau, mirostatEta: eta, seed: 1 },
        });
        const own = new Mirostat(params, 400, Xoshiro128.fromSeed(1));
        const kind = version === 1 ? "mirostat" : "mirostat_v2";
        const peer = new LlamaSampler([
          { kind: "temp", temperature },
          { kind, tau, eta, vocabulary: 400, seed: 7 },
        ]);
        const sizes = new Set<number>();
        for (let step = 0; step < 40; step++) {
          const logits = someLogits(400);
          const { chosen, logits: left } = peer.apply(logits);
          const { tokens, best } = own.select(logits);
          assert.deepEqual(sorted(tokens), sorted(left.keys()), `step ${step}`);
          sizes.add(tokens.length);
          // Our own follows libllama's draw.
          const weight = (token: number) => Math.exp((logits[token]! - best) / temperature);
          own.learn(weight(chosen!) / tokens.reduce((sum, token) => sum + weight(token), 0));
        }
        assert.ok(sizes.size > 3, "it did not learn");
        peer.dispose();
      });
    }
  }
});

/** Cases of which every one may keep as many. */
function kept8({ xtcThreshold = 0 }: SamplingParams): boolean {
  return xtcThreshold > 0.5;
}
