import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StowageError } from "../../errors.ts";
import { argmax, selectTop, sortBestFirst } from "./select.ts";
import { rank } from "./test-reference.ts";

/** Few distinct values, so that ties are common, among any values and masked ones. */
const logit = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.float({ noNaN: true, min: -50, max: 50 }),
  fc.constant(-Infinity),
);
const someLogits = fc.array(logit, { minLength: 1, maxLength: 80 }).map((xs) => Float32Array.from(xs));

function code(run: () => unknown): [string, unknown] {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof StowageError);
    return [error.code, error.details.position];
  }
  return ["none", undefined];
}

test("argmax is the first of the full ranking", () => {
  fc.assert(
    fc.property(someLogits, (logits) => {
      const best = rank(logits)[0];
      if (best === undefined) assert.equal(code(() => argmax(logits))[0], "logits_all_masked");
      else assert.equal(argmax(logits), best.token);
    }),
    { numRuns: 2000 },
  );
});

test("selectTop is the beginning of the full ranking", () => {
  fc.assert(
    fc.property(someLogits, fc.integer({ min: 1, max: 90 }), (logits, k) => {
      const scores = new Float32Array(k);
      const tokens = new Int32Array(k);
      const wanted = rank(logits).slice(0, k);
      if (wanted.length === 0) {
        assert.equal(code(() => selectTop(logits, k, scores, tokens))[0], "logits_all_masked");
        return;
      }
      const count = selectTop(logits, k, scores, tokens);
      assert.deepEqual(
        [...tokens.subarray(0, count)],
        wanted.map((r) => r.token),
      );
      assert.deepEqual(
        [...scores.subarray(0, count)],
        wanted.map((r) => r.logit),
      );
    }),
    { numRuns: 2000 },
  );
});

test("sortBestFirst sorts its range and leaves the rest alone", () => {
  fc.assert(
    fc.property(someLogits, fc.nat(80), fc.nat(80), (scores, a, b) => {
      const [from, to] = [Math.min(a, b, scores.length), Math.min(Math.max(a, b), scores.length)];
      const pairs = Array.from(scores, (score, token) => ({ score, token }));
      const sorted = pairs.slice(from, to).sort((p, q) => q.score - p.score || p.token - q.token);
      const wanted = [...pairs.slice(0, from), ...sorted, ...pairs.slice(to)];
      const tokens = Int32Array.from(scores.keys());
      sortBestFirst(scores, tokens, from, to);
      assert.deepEqual(
        [...tokens],
        wanted.map((p) => p.token),
      );
      assert.deepEqual(
        [...scores],
        wanted.map((p) => p.score),
      );
    }),
    { numRuns: 1000 },
  );
});

test("NaN and Infinity are refused wherever they are", () => {
  const scores = new Float32Array(5);
  const tokens = new Int32Array(5);
  for (const bad of [NaN, Infinity]) {
    for (let length = 1; length <= 23; length++) {
      for (let at = 0; at < length; at++) {
        const logits = Float32Array.from({ length }, (_, i) => (i === at ? bad : 10 - i));
        assert.deepEqual(
          code(() => argmax(logits)),
          ["logits_not_finite", at],
        );
        assert.deepEqual(
          code(() => selectTop(logits, 5, scores, tokens)),
          ["logits_not_finite", at],
        );
      }
    }
  }
});
