import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import { type PolicyName, policyNames, policyPair } from "./policies.ts";
import type { EvictionPolicy, ExpertId, Moment, PolicyShape } from "./policy.ts";

const shape: PolicyShape = { layers: 1, experts: 31, used: 1, slots: 8 };
const at = (tick: number): Moment => ({ tick, layer: 0 });
const evictionOf = (name: PolicyName, of = shape): EvictionPolicy => policyPair(name, of, "none").eviction;

/** The candidate of least worth. */
function victim(policy: EvictionPolicy, candidates: readonly ExpertId[], now: Moment): ExpertId {
  const worths = candidates.map((expert) => policy.worth(expert, now));
  return candidates[worths.indexOf(Math.min(...worths))]!;
}

/** Lets the experts in and uses them in this order, one a tick. */
function play(policy: EvictionPolicy, uses: readonly number[]): number {
  const present = new Set<number>();
  uses.forEach((expert, tick) => {
    const token = { request: 1, token: tick % 5, position: tick };
    policy.began?.([token], at(tick));
    if (!present.has(expert)) policy.entered(expert, at(tick));
    present.add(expert);
    policy.used(expert, at(tick));
    policy.routed?.({ layer: 0, decoding: true, tokens: [{ ...token, chosen: [expert] }] }, at(tick));
  });
  return uses.length;
}

describe("what every policy does that evicts", () => {
  for (const name of policyNames) {
    test(`${name}: gives every expert a worth, and the same again for the same history`, () => {
      const history = fc.array(fc.nat(20), { maxLength: 60 });
      fc.assert(
        fc.property(history, (uses) => {
          const [one, other] = [evictionOf(name), evictionOf(name)];
          const end = play(one, uses);
          play(other, uses);
          for (let expert = 0; expert < shape.experts; expert++) {
            const worth = one.worth(expert, at(end));
            assert.ok(!Number.isNaN(worth), `expert ${expert}: ${worth}`);
            assert.equal(other.worth(expert, at(end)), worth);
          }
        }),
        { numRuns: 100 },
      );
    });
  }
});

test("lru gives the one whose last use is longest ago", () => {
  const policy = evictionOf("lru");
  const end = play(policy, [1, 2, 3, 1, 1, 2]);
  assert.equal(victim(policy, [1, 2, 3], at(end)), 3);
  assert.equal(victim(policy, [1, 2], at(end)), 1);
});

test("lfu gives the one with the fewest uses, also of those before it came back", () => {
  const policy = evictionOf("lfu");
  const end = play(policy, [1, 1, 1, 2, 2, 3]);
  policy.left(1);
  policy.entered(1, at(end));
  assert.equal(victim(policy, [1, 2, 3], at(end)), 3);
  assert.equal(victim(policy, [1, 2], at(end)), 2);
});

test("lfu parts equals by their last use", () => {
  const policy = evictionOf("lfu");
  const end = play(policy, [2, 1]);
  assert.equal(victim(policy, [1, 2], at(end)), 2);
});

test("lfru forgets: many uses long ago weigh less than one now", () => {
  const policy = evictionOf("lfru");
  play(policy, [1, 1, 1, 1]);
  policy.entered(2, at(4));
  policy.used(2, at(4));
  assert.equal(victim(policy, [1, 2], at(5)), 2, "soon after, the count decides");
  policy.used(2, at(20_000));
  assert.equal(victim(policy, [1, 2], at(20_001)), 1, "after ten half-lives, recency does");
});

describe("successors", () => {
  /** Two words, each followed by its own expert; tells how often the right one is given away. */
  const words = { layers: 2, experts: 8, used: 1, slots: 8 };

  it("keeps the expert that follows the current word, and gives the one that follows another", () => {
    const policy = evictionOf("successors", words);
    let tick = 0;
    let position = 0;
    const token = (id: number, expert: number) => {
      const token = { request: 1, token: id, position: position++ };
      policy.began!([token], { tick, layer: -1 });
      for (let layer = 0; layer < words.layers; layer++) {
        const tokens = [{ ...token, chosen: [expert] }];
        policy.routed!({ layer, decoding: true, tokens }, { tick: ++tick, layer });
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
    assert.equal(victim(policy, [1, 2], { tick, layer: 1 }), 2);
    token(3, 1);
    token(9, 6);
    assert.equal(victim(policy, [1, 2], { tick, layer: 1 }), 1);
  });

  it("learns from prompts what follows a word, across their chunks, and not across requests", () => {
    const policy = evictionOf("successors", words);
    const prompt = (request: number, first: number, ids: readonly number[]) => {
      const tokens = ids.map((token, index) => ({
        ...{ request, token, position: first + index },
        chosen: [token % words.experts],
      }));
      for (let layer = 0; layer < words.layers; layer++) {
        policy.routed!({ layer, decoding: false, tokens }, { tick: 0, layer });
      }
    };
    for (let round = 0; round < 20; round++) {
      // 7 is followed by 1 within a chunk, by 2 across two; 5 is the first word of each request, after another's 7.
      prompt(1, 0, [5, 7, 1, 7]);
      prompt(1, 4, [2, 7]);
    }
    policy.began!([{ request: 9, token: 7, position: 3 }], { tick: 1, layer: -1 });
    const worth = (expert: number) => policy.worth(expert, { tick: 1, layer: 1 });
    assert.ok(Math.min(worth(1), worth(2)) > worth(5), "what follows 7 is worth more");
  });

  it("takes bounded memory for any number of words", () => {
    const policy = evictionOf("successors", words);
    const before = process.memoryUsage().arrayBuffers;
    for (let id = 0; id < 20_000; id++) {
      for (const layer of [0, 1]) {
        const tokens = [{ request: id % 4, token: id, position: id >> 2, chosen: [id % 8] }];
        if (layer === 0) policy.began!(tokens, { tick: id, layer });
        policy.routed!({ layer, decoding: true, tokens }, { tick: id, layer });
      }
    }
    const taken = process.memoryUsage().arrayBuffers - before;
    assert.ok(taken < 40e6, `${taken} bytes`);
  });
});
