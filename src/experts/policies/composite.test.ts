import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CompositeEviction } from "./composite-eviction.ts";
import { CompositePrefetch } from "./composite-prefetch.ts";
import { GhostCache } from "./ghost-cache.ts";
import { LeastRecentlyUsed } from "./lru.ts";
import { Paths } from "./paths.ts";
import type { PolicyShape } from "./policy.ts";

const shape: PolicyShape = { layers: 2, experts: 16, used: 1, slots: 4 };

describe("a ghost cache", () => {
  it("misses what a cache of its size would have missed", () => {
    const policy = new LeastRecentlyUsed();
    const ghost = new GhostCache(policy, 2);
    [1, 2, 1, 3, 1, 2].forEach((expert, tick) => {
      policy.used(expert, { tick, layer: 0 });
      ghost.used([expert], { tick, layer: 0 });
    });
    // 3 takes the place of 2, and 2 that of 3.
    assert.equal(ghost.misses, 4);
    ghost.fill([1, 2]);
    ghost.used([1, 2], { tick: 9, layer: 0 });
    assert.equal(ghost.misses, 0);
  });

  it("evicts several at once, those of least worth, and none that the layer uses", () => {
    const policy = new LeastRecentlyUsed();
    const ghost = new GhostCache(policy, 4);
    for (const expert of [0, 1, 2, 3]) policy.used(expert, { tick: 1 + ((expert + 2) % 4), layer: 0 });
    ghost.fill([0, 1, 2, 3]);
    // Longest ago are 2, 3, 0 and 1: 2 is used itself.
    ghost.used([2, 8, 9], { tick: 9, layer: 0 });
    assert.equal(ghost.misses, 2);
    ghost.used([1, 2, 8, 9], { tick: 10, layer: 0 });
    assert.equal(ghost.misses, 2);
    ghost.used([0, 3], { tick: 11, layer: 0 });
    assert.equal(ghost.misses, 4);
  });
});

/** Has a policy see one request; each token says which expert its layers use. */
function play(
  policy: CompositeEviction,
  steps: number,
  expertOf: (step: number, layer: number) => number,
  { layers, experts }: PolicyShape = shape,
) {
  let tick = 0;
  for (let step = 0; step < steps; step++) {
    const token = { request: 1, token: step % 3, position: step };
    policy.began([token], { tick, layer: -1 });
    for (let layer = 0; layer < layers; layer++) {
      const now = { tick: ++tick, layer };
      const expert = expertOf(step, layer);
      policy.used(layer * experts + expert, now);
      policy.routed({ layer, decoding: true, tokens: [{ ...token, chosen: [expert] }] }, now);
    }
  }
}

describe("the composite eviction", () => {
  it("goes over to the policy whose ghost misses least, and says so", () => {
    const policy = new CompositeEviction(shape);
    assert.equal(policy.says(), "evicts by successors");
    // One expert every other token, all others in turn: what counts is how often, and no word tells anything.
    play(policy, 513, (step) => (step % 2 === 0 ? 0 : 1 + ((step * 7) % 15)));
    assert.match(policy.says(), /misses in 512 steps: successors \d+, lfru \d+, lru \d+$/);
    const misses = [...policy.says().matchAll(/(\w+) (\d+)(?=,|$)/g)].map(([, name, count]) => [
      name,
      Number(count),
    ]);
    const least = misses.reduce((best, one) => (one[1]! < best[1]! ? one : best));
    const [used] = /(?<=evicts by )\w+/.exec(policy.says())!;
    const countOf = new Map(misses as [string, number][]);
    assert.ok(countOf.get(used!)! <= Number(least[1]) / 0.98, policy.says());
  });
});

describe("the composite eviction with many slots", () => {
  it("watches a part of the experts, and counts what all would have missed", () => {
    const large: PolicyShape = { layers: 8, experts: 64, used: 1, slots: 256 };
    const policy = new CompositeEviction(large);
    const misses = () => [...policy.says().matchAll(/\w+ (\d+)(?=,|$)/g)].map(([, count]) => Number(count));
    const ghost = new GhostCache(new LeastRecentlyUsed(), large.slots);
    const expertOf = (step: number, layer: number) => (step * 5 + (step % 3) * layer) % 50;
    let tick = 0;
    for (let step = 1; step <= 512; step++) {
      for (let layer = 0; layer < large.layers; layer++) {
        const now = { tick: ++tick, layer };
        const expert = layer * large.experts + expertOf(step, layer);
        ghost.used([expert], now);
        ghost.policy.used(expert, now);
      }
    }
    play(policy, 513, expertOf, large);
    const [, , lru] = misses();
    assert.ok(Math.abs(lru! / ghost.misses - 1) < 0.1, `${lru} beside ${ghost.misses}: ${policy.says()}`);
  });
});

describe("the composite way of reading ahead", () => {
  /** Decode steps that take so many ms with each way. */
  function run(steps: number, ms: Record<string, number>) {
    const policy = new CompositePrefetch(shape);
    const shares: Record<string, number> = { paths: 0, "next-gate": 0, none: 0 };
    for (let step = 0; step < steps; step++) {
      const guess = policy.guessed({ layer: 1, experts: [5] }, { tick: step, layer: 0 });
      const began = policy.began([{ request: 1, token: 1, position: step }], { tick: step, layer: -1 });
      const way = guess === undefined ? "none" : began === undefined ? "next-gate" : "paths";
      shares[way]! += 1 / steps;
      policy.stepped({ ms: ms[way]!, stallMs: 0 });
    }
    return { policy, shares };
  }

  it("is mostly the one with which steps take least time, and never wants a gate that it does not look at", () => {
    for (const best of ["paths", "next-gate", "none"]) {
      const { policy, shares } = run(5000, { paths: 3, "next-gate": 3, none: 3, [best]: 2 });
      assert.ok(shares[best]! > 0.85, `${best}: ${JSON.stringify(shares)}`);
      assert.match(policy.says(), new RegExp(`^reads ahead by ${best}; ms a step: `));
      assert.deepEqual(policy.sees, best === "none" ? [] : ["next-gate"]);
    }
  });

  it("tries the others again", () => {
    const { shares } = run(10_000, { paths: 1, "next-gate": 2, none: 3 });
    assert.ok(shares["next-gate"]! > 0.01 && shares.none! > 0.01, JSON.stringify(shares));
  });
});

describe("paths", () => {
  const step = (policy: Paths, token: number, position: number, experts: readonly number[]) => {
    const seen = { request: 1, token, position };
    const wanted = policy.began([seen]);
    experts.forEach((expert, layer) => {
      policy.routed({ layer, decoding: true, tokens: [{ ...seen, chosen: [expert] }] });
    });
    return wanted;
  };

  it("wants the whole path that a word took before, nearest layer first", () => {
    const policy = new Paths(shape);
    for (let round = 0; round < 30; round++) {
      step(policy, 7, 2 * round, [3, 9]);
      step(policy, 8, 2 * round + 1, [4, 10]);
    }
    assert.deepEqual(step(policy, 7, 60, [3, 9]), [3, 16 + 9]);
    assert.deepEqual(step(policy, 8, 61, [4, 10]), [4, 16 + 10]);
    assert.deepEqual(step(policy, 9, 62, [4, 10]), [], "nothing is known of a new word");
  });

  it("believes a gate that is right, and no longer one that is wrong", () => {
    for (const right of [true, false]) {
      const policy = new Paths(shape);
      const last = { request: 1, position: 0 };
      for (let round = 0; round < 60; round++) {
        // Words that come once: only the gate can tell.
        const token = { ...last, token: 100 + round };
        policy.began([token]);
        policy.guessed({ layer: 1, experts: [5] });
        const chosen = [right ? 5 : 6];
        for (const layer of [0, 1]) policy.routed({ layer, decoding: true, tokens: [{ ...token, chosen }] });
      }
      policy.began([{ ...last, token: 99 }]);
      assert.deepEqual(policy.guessed({ layer: 1, experts: [5] }), right ? [16 + 5] : []);
    }
  });
});
