import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StowageError } from "../../errors.ts";
import { Candidates } from "./candidates.ts";
import { type ResolvedSampling, resolveSampling } from "./params.ts";
import { Xoshiro128 } from "./random.ts";
import { rank, truncate } from "./test-reference.ts";

const random = Xoshiro128.fromSeed(1);

/** Double sums taken in another order differ by far less than this; cuts that are this close are not decided. */
const slack = 1e-9;

const logit = fc.oneof(
  { weight: 4, arbitrary: fc.float({ noNaN: true, min: -8, max: 8 }) },
  { weight: 2, arbitrary: fc.integer({ min: -3, max: 3 }) },
  { weight: 1, arbitrary: fc.float({ noNaN: true, min: -90, max: 90 }) },
  { weight: 1, arbitrary: fc.constant(-Infinity) },
);
const someLogits = fc
  .array(logit, { minLength: 1, maxLength: 200 })
  .filter((xs) => xs.some((x) => x !== -Infinity))
  .map((xs) => Float32Array.from(xs));
const someParams = fc
  .record({
    topK: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 250 })),
    topP: fc.oneof(
      fc.constantFrom(0, 0.5, 0.95, 0.999999999999, 1),
      fc.double({ min: 0, max: 1, noNaN: true }),
    ),
    minP: fc.oneof(fc.constantFrom(0, 0.05, 1), fc.double({ min: 0, max: 1, noNaN: true })),
  })
  .map((params) => resolveSampling(params));

function checkAgainstReference(logits: Float32Array, params: ResolvedSampling): void {
  const candidates = new Candidates(params, logits.length, random);
  // Twice: what an earlier call left behind must not show.
  candidates.select(logits.map((x) => -x).map((x) => (x === Infinity ? -1 : x)));
  candidates.select(logits);
  const kept = [...candidates.tokens.subarray(0, candidates.count)];
  const ranked = rank(logits);
  const least = truncate(ranked, params, -slack).length;
  const most = truncate(ranked, params, slack).length;
  const [fewer, more] = [Math.min(least, most), Math.max(least, most)];
  assert.ok(kept.length >= fewer && kept.length <= more, `${kept.length} kept, not ${fewer} to ${more}`);

  const wanted = ranked.slice(0, kept.length).map(({ token }) => token);
  assert.deepEqual(
    kept.toSorted((a, b) => a - b),
    wanted.toSorted((a, b) => a - b),
  );
  for (let i = 0; i < kept.length; i++) assert.equal(candidates.scores[i], logits[kept[i]!]);
  assert.equal(candidates.best, ranked[0]!.logit);
  if (params.topK > 0 && params.topK < logits.length) assert.deepEqual(kept, wanted);
}

test("what is kept agrees with the definitions", () => {
  fc.assert(fc.property(someLogits, someParams, checkAgainstReference), { numRuns: 5000 });
});

/** With typical_p and XTC what is kept is no prefix of the ranking; where a cut is not decided, nothing is compared. */
test("what is kept agrees with the definitions, whatever is combined", () => {
  const off = fc.constant(undefined);
  const combined = fc.record({
    topK: fc.constantFrom(0, 7, 30),
    topP: fc.constantFrom(0.3, 0.9, 1),
    minP: fc.constantFrom(0, 0.05, 0.3),
    typicalP: fc.oneof(off, fc.double({ min: 0.01, max: 0.999, noNaN: true })),
    topNSigma: fc.oneof(off, fc.double({ min: 0.1, max: 4, noNaN: true })),
    xtc: fc.oneof(off, fc.double({ min: 0.001, max: 0.6, noNaN: true })),
  });
  let decided = 0;
  fc.assert(
    fc.property(someLogits, combined, (some, { typicalP = 1, topNSigma = -1, xtc, ...params }) => {
      // Logits that rounding alone tells apart have no order by their surprise.
      const logits = some.map((logit) => Math.round(logit * 1024) / 1024 + 0);
      const off = xtc === undefined ? {} : { xtcProbability: 1, xtcThreshold: xtc };
      const resolved = resolveSampling({ ...params, ...off, typicalP, topNSigma });
      const [wanted, less, more] = [0, -slack, slack].map((by) =>
        truncate(rank(logits), resolved, by).map(({ token }) => token),
      );
      if (String(less) !== String(wanted) || String(more) !== String(wanted)) return;
      decided++;
      const candidates = new Candidates(resolved, logits.length, random);
      candidates.select(logits.map((x) => -x).map((x) => (x === Infinity ? -1 : x)));
      candidates.select(logits);
      const kept = [...candidates.tokens.subarray(0, candidates.count)];
      const byId = (a: number, b: number) => a - b;
      assert.deepEqual(kept.toSorted(byId), wanted!.toSorted(byId));
      for (let i = 0; i < kept.length; i++) assert.equal(candidates.scores[i], logits[kept[i]!]);
      assert.equal(candidates.best, Math.max(...wanted!.map((token) => logits[token]!)));
    }),
    { numRuns: 3000, seed: 6 },
  );
  assert.ok(decided > 2000, `${decided} of 3000 were decided`);
});

test("XTC is at work as often as asked for", () => {
  const logits = Float32Array.from([0.5, 0.3, 0.2], Math.log);
  const candidates = new Candidates(resolveSampling({ xtcProbability: 0.25, minP: 0, topP: 1 }), 3, random);
  let excluded = 0;
  for (let i = 0; i < 4000; i++) {
    candidates.select(logits);
    if (candidates.count === 1) excluded++;
  }
  // 1000, give or take five deviations of 27.
  assert.ok(excluded > 860 && excluded < 1140, `${excluded} of 4000`);
});

test("what is kept agrees with the definitions on a large vocabulary, peaked and flat", () => {
  for (const spread of [0, 0.01, 1, 4, 20]) {
    const logits = Float32Array.from(
      { length: 20_000 },
      (_, i) => spread * Math.sin(i * i * 0.7) * Math.cos(i),
    );
    for (const params of [
      {},
      { topK: 0 },
      { topK: 0, minP: 0 },
      { topK: 0, minP: 0, topP: 0.1 },
      { topK: 3000, minP: 0, topP: 0.9 },
      { topK: 0, minP: 0, topP: 1 },
    ]) {
      checkAgainstReference(logits, resolveSampling(params));
    }
  }
});

test("top_p reaches into the last band when topP asks for nearly everything", () => {
  // One token at 0 and 20,000 at -33 and below, which have 8e-11 of the mass: a 1e-12 of it may go.
  const logits = Float32Array.from({ length: 20_001 }, (_, i) => (i === 0 ? 0 : i % 4 === 0 ? -35 : -33));
  const candidates = new Candidates(
    resolveSampling({ topK: 0, topP: 1 - 1e-12, minP: 0 }),
    logits.length,
    random,
  );
  candidates.select(logits);
  assert.ok(candidates.count > 15_001 && candidates.count < 20_001, `${candidates.count} kept`);
  const kept = [...candidates.tokens.subarray(0, candidates.count)];
  const wanted = rank(logits).slice(0, candidates.count);
  assert.deepEqual(
    kept,
    wanted.map(({ token }) => token),
  );
});

test("llama.cpp's order: top_p counts what top_k left, and neither sees the temperature", () => {
  // Softmax of these is 0.4, 0.3, 0.2, 0.1; after top_k 2 it is 0.571, 0.429.
  const logits = Float32Array.from([0.1, 0.2, 0.3, 0.4], Math.log);
  const kept = (params: object) => {
    const candidates = new Candidates(resolveSampling({ temperature: 5, minP: 0, ...params }), 4, random);
    candidates.select(logits);
    return [...candidates.tokens.subarray(0, candidates.count)].sort();
  };
  assert.deepEqual(kept({ topK: 0, topP: 0.55 }), [2, 3]);
  assert.deepEqual(kept({ topK: 2, topP: 0.55 }), [3]);
  assert.deepEqual(kept({ topK: 0, topP: 0.75 }), [1, 2, 3]);
  assert.deepEqual(kept({ topK: 0, topP: 1, minP: 0.6 }), [2, 3]);
  assert.deepEqual(kept({ topK: 0, topP: 0 }), [3]);
  assert.deepEqual(kept({ topK: 0, topP: 1 }), [0, 1, 2, 3]);
});

test("logits that cannot be sampled are refused with and without top_k", () => {
  for (const topK of [0, 2]) {
    const candidates = new Candidates(resolveSampling({ topK }), 4, random);
    const code = (logits: number[]) => {
      try {
        candidates.select(Float32Array.from(logits));
      } catch (error) {
        assert.ok(error instanceof StowageError);
        return error.code;
      }
      return "none";
    };
    assert.equal(code([1, 2, 3, NaN]), "logits_not_finite");
    assert.equal(code([9, 2, Infinity, 1]), "logits_not_finite");
    assert.equal(code([-Infinity, -Infinity, -Infinity, -Infinity]), "logits_all_masked");
    assert.equal(code([-Infinity, 0, -Infinity, -Infinity]), "none");
  }
});
