import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import { evictionNames, evictionPolicy } from "./policies.ts";
import type { EvictionPolicy, Moment } from "./policy.ts";

const shape = { layers: 1, experts: 31 };
const at = (tick: number): Moment => ({ tick, layer: 0 });

/** Lets the experts in and uses them in this order, one a tick. */
function play(policy: EvictionPolicy, uses: readonly number[]): number {
  const present = new Set<number>();
  uses.forEach((expert, tick) => {
    if (!present.has(expert)) policy.entered(expert, at(tick));
    present.add(expert);
    policy.routed?.({ layer: 0, tokens: [{ request: 1, token: tick % 5, chosen: [expert] }] }, at(tick));
    policy.used(expert, at(tick));
  });
  return uses.length;
}

describe("what every eviction policy does", () => {
  for (const name of evictionNames) {
    test(`${name}: gives a candidate, whatever was used, and the same again for the same history`, () => {
      const history = fc.array(fc.nat(20), { maxLength: 60 });
      const candidates = fc.uniqueArray(fc.nat(30), { minLength: 1 });
      fc.assert(
        fc.property(history, candidates, (uses, among) => {
          const [one, other] = [evictionPolicy(name, shape), evictionPolicy(name, shape)];
          const end = play(one, uses);
          play(other, uses);
          const victim = one.victim(among, at(end));
          assert.ok(among.includes(victim));
          assert.equal(other.victim(among, at(end)), victim);
        }),
        { numRuns: 200 },
      );
    });
  }
});

test("lru gives the one whose last use is longest ago", () => {
  const policy = evictionPolicy("lru", shape);
  const end = play(policy, [1, 2, 3, 1, 1, 2]);
  assert.equal(policy.victim([1, 2, 3], at(end)), 3);
  assert.equal(policy.victim([1, 2], at(end)), 1);
});

test("lfu gives the one with the fewest uses, also of those before it came back", () => {
  const policy = evictionPolicy("lfu", shape);
  const end = play(policy, [1, 1, 1, 2, 2, 3]);
  policy.left(1);
  policy.entered(1, at(end));
  assert.equal(policy.victim([1, 2, 3], at(end)), 3);
  assert.equal(policy.victim([1, 2], at(end)), 2);
});

test("lfu parts equals by their last use", () => {
  const policy = evictionPolicy("lfu", shape);
  const end = play(policy, [2, 1]);
  assert.equal(policy.victim([1, 2], at(end)), 2);
});

test("lfru forgets: many uses long ago weigh less than one now", () => {
  const policy = evictionPolicy("lfru", shape);
  play(policy, [1, 1, 1, 1]);
  policy.entered(2, at(4));
  policy.used(2, at(4));
  assert.equal(policy.victim([1, 2], at(5)), 2, "soon after, the count decides");
  policy.used(2, at(20_000));
  assert.equal(policy.victim([1, 2], at(20_001)), 1, "after ten half-lives, recency does");
});

describe("successors", () => {
  /** Two words, each followed by its own expert; tells how often the right one is given away. */
  const words = { layers: 2, experts: 8 };

  it("keeps the expert that follows the current word, and gives the one that follows another", () => {
    const policy = evictionPolicy("successors", words);
    let tick = 0;
    const token = (id: number, expert: number) => {
      for (let layer = 0; layer < words.layers; layer++) {
        policy.routed!(
          { layer, tokens: [{ request: 1, token: id, chosen: [expert] }] },
          { tick: ++tick, layer },
        );
      }
    };
    // After word 7 comes a word that uses expert 1, after word 9 one that uses expert 2; both are used equally often.
    for (let round = 0; round < 200; round++) {
      token(7, 5);
      token(3, 1);
      token(9, 6);
      token(4, 2);
    }
    token(7, 5);
    assert.equal(policy.victim([1, 2], { tick, layer: 1 }), 2);
    token(3, 1);
    token(9, 6);
    assert.equal(policy.victim([1, 2], { tick, layer: 1 }), 1);
  });

  it("counts no layer that has no experts, and takes bounded memory for any number of words", () => {
    const policy = evictionPolicy("successors", { layers: 3, experts: 8 });
    const before = process.memoryUsage().arrayBuffers;
    for (let id = 0; id < 20_000; id++) {
      for (const layer of [1, 2]) {
        policy.routed!(
          { layer, tokens: [{ request: id % 4, token: id, chosen: [id % 8] }] },
          { tick: id, layer },
        );
      }
    }
    const taken = process.memoryUsage().arrayBuffers - before;
    assert.ok(taken < 40e6, `${taken} bytes`);
    assert.ok([8, 9].includes(policy.victim([8, 9], { tick: 1, layer: 2 })));
  });
});
