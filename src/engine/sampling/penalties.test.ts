import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { resolveSampling } from "./params.ts";
import { Penalties, penalises } from "./penalties.ts";
import { penalise } from "./test-reference.ts";

const vocab = 12;

test("penalised logits agree with the definition, after every token", () => {
  fc.assert(
    fc.property(
      fc.array(fc.float({ noNaN: true, min: -30, max: 30 }), { minLength: vocab, maxLength: vocab }),
      fc.array(fc.nat(vocab - 1), { maxLength: 40 }),
      fc.integer({ min: 1, max: 10 }),
      fc.double({ min: 0.5, max: 2, noNaN: true }),
      fc.double({ min: -2, max: 2, noNaN: true }),
      fc.double({ min: -2, max: 2, noNaN: true }),
      (values, seen, penaltyLastN, repeatPenalty, frequencyPenalty, presencePenalty) => {
        const params = resolveSampling({ penaltyLastN, repeatPenalty, frequencyPenalty, presencePenalty });
        const logits = Float32Array.from(values);
        const penalties = new Penalties(params, vocab);
        for (let n = 0; n <= seen.length; n++) {
          const penalised = logits.slice();
          penalties.apply(penalised);
          assert.deepEqual([...penalised], penalise(logits, seen.slice(0, n), params));
          if (n < seen.length) penalties.accept(seen[n]!);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("a masked token stays masked", () => {
  const penalties = new Penalties(resolveSampling({ repeatPenalty: 2, frequencyPenalty: -2 }), 2);
  penalties.accept(0);
  const logits = Float32Array.of(-Infinity, 1);
  penalties.apply(logits);
  assert.deepEqual([...logits], [-Infinity, 1]);
});

test("only parameters that change something penalise", () => {
  assert.equal(penalises(resolveSampling()), false);
  assert.equal(penalises(resolveSampling({ repeatPenalty: 1.1, penaltyLastN: 0 })), false);
  assert.equal(penalises(resolveSampling({ repeatPenalty: 1.1 })), true);
  assert.equal(penalises(resolveSampling({ frequencyPenalty: 0.1 })), true);
  assert.equal(penalises(resolveSampling({ presencePenalty: -0.1 })), true);
});
