import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { evictionNames, evictionPolicy } from "./policies.ts";
import type { EvictionPolicy, Moment } from "./policy.ts";

const at = (tick: number): Moment => ({ tick, layer: 0 });

/** Lets the experts in and uses them in this order, one a tick. */
function play(policy: EvictionPolicy, uses: readonly number[]): number {
  const present = new Set<number>();
  uses.forEach((expert, tick) => {
    if (!present.has(expert)) policy.entered(expert, at(tick));
    present.add(expert);
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
          const [one, other] = [evictionPolicy(name), evictionPolicy(name)];
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
  const policy = evictionPolicy("lru");
  const end = play(policy, [1, 2, 3, 1, 1, 2]);
  assert.equal(policy.victim([1, 2, 3], at(end)), 3);
  assert.equal(policy.victim([1, 2], at(end)), 1);
});

test("lfu gives the one with the fewest uses, also of those before it came back", () => {
  const policy = evictionPolicy("lfu");
  const end = play(policy, [1, 1, 1, 2, 2, 3]);
  policy.left(1);
  policy.entered(1, at(end));
  assert.equal(policy.victim([1, 2, 3], at(end)), 3);
  assert.equal(policy.victim([1, 2], at(end)), 2);
});

test("lfu parts equals by their last use", () => {
  const policy = evictionPolicy("lfu");
  const end = play(policy, [2, 1]);
  assert.equal(policy.victim([1, 2], at(end)), 2);
});

test("lfru forgets: many uses long ago weigh less than one now", () => {
  const policy = evictionPolicy("lfru");
  play(policy, [1, 1, 1, 1]);
  policy.entered(2, at(4));
  policy.used(2, at(4));
  assert.equal(policy.victim([1, 2], at(5)), 2, "soon after, the count decides");
  policy.used(2, at(20_000));
  assert.equal(policy.victim([1, 2], at(20_001)), 1, "after ten half-lives, recency does");
});
