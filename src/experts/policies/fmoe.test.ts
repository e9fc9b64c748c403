import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ExpertMaps } from "./expert-maps.ts";
import { Fmoe } from "./fmoe.ts";
import type { PolicyShape } from "./policy.ts";

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>) =>
    Array.from(x).reduce((sum, value, index) => sum + value * y[index]!, 0);
  const norms = Math.sqrt(dot(a, a) * dot(b, b));
  return norms > 0 ? dot(a, b) / norms : 0;
}

describe("the store of expert maps", () => {
  const shape = { layers: 3, experts: 4 };
  const layer = fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 });
  const iteration = fc.record({
    layers: fc.array(layer, { minLength: 3, maxLength: 3 }),
    embedding: fc.double({ min: 0, max: 6, noNaN: true }),
  });
  const unit = (angle: number) => Float32Array.of(Math.cos(angle), Math.sin(angle));

  it("finds what comparing with every map finds, and replaces the one most like the new", () => {
    fc.assert(
      fc.property(fc.array(iteration, { minLength: 2, maxLength: 12 }), (iterations) => {
        const maps = new ExpertMaps(shape, { most: 4, distance: 1, width: 2 });
        /** The same, in the plainest way. */
        const stored: { flat: number[]; embedding: Float32Array }[] = [];
        const best = (scores: number[]) => Math.max(...scores);
        for (const { layers, embedding } of iterations) {
          const search = maps.begin(unit(embedding));
          const semantic = stored.map((other) => cosine(other.embedding, unit(embedding)));
          const close = (found: number | undefined, scores: number[]) =>
            scores.length === 0
              ? assert.equal(found, undefined)
              : assert.ok(Math.abs(found! - best(scores)) < 1e-5);
          close(maps.bySemantic(search)?.score, semantic);
          for (const [index, probabilities] of layers.entries()) {
            maps.see(search, Float32Array.from(probabilities));
            const flat = layers.slice(0, index + 1).flat();
            close(
              maps.byTrajectory(search)?.score,
              stored.map((other) => cosine(other.flat.slice(0, flat.length), flat)),
            );
          }
          maps.add(search);
          const flat = layers.flat();
          const redundancy = stored.map(
            (other, index) => semantic[index]! / 3 + (2 / 3) * cosine(other.flat, flat),
          );
          const place = stored.length < 4 ? stored.length : redundancy.indexOf(best(redundancy));
          stored[place] = { flat, embedding: unit(embedding) };
        }
        assert.equal(maps.size, Math.min(4, iterations.length));
      }),
      { numRuns: 60 },
    );
  });
});

describe("fmoe", () => {
  const shape: PolicyShape = { layers: 6, experts: 4, used: 1, slots: 8 };
  /** Runs a token whose routers say the same at every layer. @returns what was wanted when it began, and after each layer */
  function run(policy: Fmoe, token: number, position: number, probabilities: readonly number[]) {
    const seen = { request: 1, token, position };
    const wanted = [policy.began([seen], { tick: 0, layer: -1 })];
    for (let layer = 0; layer < shape.layers; layer++) {
      const expert = probabilities.indexOf(Math.max(...probabilities));
      policy.used(layer * shape.experts + expert);
      const tokens = [{ ...seen, chosen: [expert], probabilities: Float32Array.from(probabilities) }];
      wanted.push(policy.routed({ layer, decoding: true, tokens }, { tick: 0, layer }));
    }
    return wanted;
  }

  it("knows nothing at first, then reads the first layer off the map of the same word and the next off the same path", () => {
    const policy = new Fmoe(shape);
    assert.deepEqual(run(policy, 7, 0, [0, 1, 0, 0]), Array(7).fill([]));
    run(policy, 8, 1, [0, 0, 1, 0]);
    // d is 1: a layer is asked for when the one before it was seen. A perfect match asks for K experts alone.
    assert.deepEqual(run(policy, 7, 2, [0, 1, 0, 0]), [[1], [5], [9], [13], [17], [21], []]);
    assert.deepEqual(run(policy, 8, 3, [0, 1, 0, 0])[0], [2], "by the word");
    assert.deepEqual(run(policy, 8, 4, [0, 1, 0, 0]).slice(1, 4), [[5], [9], [13]], "by the path");
  });

  it("asks for the more experts the worse the match is: until their probabilities sum up to 1 - score", () => {
    const policy = new Fmoe(shape);
    run(policy, 7, 0, [0.5, 0.3, 0.2, 0]);
    // cos = 0.2 / sqrt(0.38) = 0.324: δ = 0.676, which the first two experts reach.
    assert.deepEqual(run(policy, 7, 1, [0, 0, 1, 0])[1], [4, 5]);
    const other = new Fmoe(shape);
    run(other, 7, 0, [0.5, 0.3, 0.2, 0]);
    // cos = 0: δ = 1, all that has any probability.
    assert.deepEqual(run(other, 7, 1, [0, 0, 0, 1])[1], [4, 5, 6]);
  });

  it("evicts the largest 1 / (p · freq)", () => {
    const policy = new Fmoe(shape);
    run(policy, 7, 0, [0.6, 0.4, 0, 0]);
    run(policy, 8, 1, [0.4, 0.6, 0, 0]);
    run(policy, 9, 2, [0.7, 0.2, 0.1, 0]);
    const worths = [0, 1, 2, 3].map((expert) => policy.worth(expert));
    // Used 2, 1, 0 and 0 times.
    for (const [index, worth] of [1.4, 0.2, 0, 0].entries())
      assert.ok(Math.abs(worths[index]! - worth) < 1e-4, `${worths}`);
  });

  it("goes on after a restart with what it had learnt, and leaves what is none aside", () => {
    const policy = new Fmoe(shape);
    const maps = [
      [0, 0.9, 0.1, 0],
      [0.3, 0, 0, 0.7],
    ];
    for (let position = 0; position < 6; position++) run(policy, position, position, maps[position % 2]!);
    const learnt = policy.learnt();
    const other = new Fmoe(shape);
    other.restore(learnt);
    assert.deepEqual(other.learnt(), learnt);
    assert.deepEqual(run(other, 4, 6, maps[0]!), run(policy, 4, 6, maps[0]!));

    const nothing = new Fmoe(shape).learnt();
    const alone = fc.uint8Array({ maxLength: 2000 });
    const cut = fc.nat(learnt.length - 1).map((length) => learnt.slice(0, length));
    fc.assert(
      fc.property(fc.oneof(alone, cut), (bytes) => {
        const fresh = new Fmoe(shape);
        fresh.restore(bytes);
        for (let position = 0; position < 2; position++) run(fresh, position, position, maps[0]!);
        for (let expert = 0; expert < 24; expert++) assert.ok(fresh.worth(expert) >= 0);
      }),
      { numRuns: 100 },
    );
    const fresh = new Fmoe(shape);
    fresh.restore(learnt.map((byte, index) => (index === learnt.length - 1 ? 0x7f : byte)));
    assert.deepEqual(fresh.learnt(), nothing, "a probability above 1");
  });

  it("merges what the requests of a step want, each by its own map", () => {
    const policy = new Fmoe(shape);
    run(policy, 7, 0, [0, 0.9, 0.1, 0]);
    run(policy, 8, 1, [0, 0, 0.2, 0.8]);
    const tokens = [7, 8].map((token) => ({ request: token, token, position: 0 }));
    assert.deepEqual(policy.began(tokens, { tick: 0, layer: -1 }), [1, 3]);
  });
});
