/** Worked examples of published policies, by hand. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { AdaptiveReplacement } from "./arc.ts";
import { ExpertFlow } from "./expertflow.ts";
import { Fate } from "./fate.ts";
import { MixtralOffloading } from "./mixtral-offloading.ts";
import { PathPredictor } from "./path-predictor.ts";
import type { EvictionPolicy, ExpertId, Moment } from "./policy.ts";
import { PreAttention } from "./pre-attention.ts";

/** A cache of a few slots under a policy, asked for one expert a tick, each in the layer of its number. */
class SmallCache {
  readonly present = new Set<ExpertId>();
  readonly #policy: EvictionPolicy;
  readonly #slots: number;
  #now: Moment = { tick: 0, layer: 0 };

  constructor(policy: EvictionPolicy, slots: number) {
    this.#policy = policy;
    this.#slots = slots;
  }

  ask(...experts: readonly ExpertId[]): void {
    for (const expert of experts) {
      this.#now = { tick: this.#now.tick + 1, layer: 0 };
      this.#policy.used(expert, this.#now);
      if (this.present.has(expert)) continue;
      if (this.present.size === this.#slots) this.#evict();
      this.present.add(expert);
      this.#policy.entered(expert, this.#now);
    }
  }

  leaver(layer = 0): ExpertId {
    const now = { ...this.#now, layer };
    const worths = [...this.present].map((expert) => [this.#policy.worth(expert, now), expert] as const);
    return worths.reduce((least, entry) => (entry[0] < least[0] ? entry : least))[1];
  }

  #evict(): void {
    const expert = this.leaver();
    this.present.delete(expert);
    this.#policy.left(expert);
  }

  get list(): ExpertId[] {
    return [...this.present].sort((a, b) => a - b);
  }
}

const flat = (slots: number) => ({ layers: 1, experts: 32, used: 1, slots });

describe("arc", () => {
  it("keeps what was used twice from a row of experts that are used once", () => {
    const cache = new SmallCache(new AdaptiveReplacement(flat(3)), 3);
    cache.ask(1, 1, 2, 2, 10, 11, 12, 13, 14);
    assert.deepEqual(cache.list, [1, 2, 14]);
  });

  it("gives recency more room when an expert comes back that left for want of it", () => {
    const cache = new SmallCache(new AdaptiveReplacement(flat(3)), 3);
    // T2 is 1, 2; T1 has one place, so that 10 left for 11: a ghost of B1.
    cache.ask(1, 1, 2, 2, 10, 11);
    assert.deepEqual(cache.list, [1, 2, 11]);
    // It comes back: the target is 1, so that T1's 11 stays and the oldest of T2 leaves. 10 is in T2 now: 2, 10.
    cache.ask(10);
    assert.deepEqual(cache.list, [2, 10, 11]);
    // With T1 at its target, T2 gives.
    cache.ask(12);
    assert.deepEqual(cache.list, [10, 11, 12]);
  });

  it("gives frequency more room when an expert comes back that left the other list", () => {
    const cache = new SmallCache(new AdaptiveReplacement(flat(3)), 3);
    // After the example above, B2 has 1 and 2, and T1 is 11, 12 over its target of 1.
    cache.ask(1, 1, 2, 2, 10, 11, 10, 12);
    // A ghost of B2: the target is 0 again, 11 leaves, and the next that leaves is 12 of T1, though it came last but one.
    cache.ask(2);
    assert.deepEqual(cache.list, [2, 10, 12]);
    assert.equal(cache.leaver(), 12);
  });

  it("counts the first use of what was read ahead as the first, and of what was never used as none", () => {
    const policy = new AdaptiveReplacement(flat(3));
    for (const expert of [1, 2]) policy.entered(expert);
    policy.used(1);
    policy.used(1);
    policy.used(2);
    assert.ok(policy.worth(2) < policy.worth(1), "2 is in T1");
    policy.entered(3);
    policy.left(3);
    policy.used(3);
    policy.entered(3);
    assert.ok(policy.worth(3) < policy.worth(1), "3 was no ghost: it is in T1");
  });

  it("keeps what was used last, whatever came before", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(12), { minLength: 1, maxLength: 200 }), (uses) => {
        const cache = new SmallCache(new AdaptiveReplacement(flat(4)), 4);
        cache.ask(...uses);
        assert.ok(cache.present.has(uses.at(-1)!));
        assert.ok(cache.present.size <= 4);
      }),
      { numRuns: 300 },
    );
  });
});

describe("mixtral-offloading", () => {
  const shape = { layers: 2, experts: 8, used: 1, slots: 4 };

  it("takes from a layer that is over its share, its oldest first", () => {
    const cache = new SmallCache(new MixtralOffloading(shape), 4);
    // Layer 0 has three of the four slots.
    cache.ask(8, 1, 2, 3);
    assert.equal(cache.leaver(), 1, "8 was used before, and is of a layer within its share");
    cache.ask(1);
    assert.equal(cache.leaver(), 2);
  });

  it("takes from the layer that comes when each has its share", () => {
    const cache = new SmallCache(new MixtralOffloading(shape), 4);
    cache.ask(1, 8, 9, 2);
    assert.equal(cache.leaver(0), 8);
    assert.equal(cache.leaver(1), 1);
  });
});

describe("fate", () => {
  const shape = { layers: 4, experts: 8, used: 1, slots: 4 };

  it("keeps shallow layers' experts while they hold no more than half of the slots", () => {
    const cache = new SmallCache(new Fate(shape), 4);
    cache.ask(1, 2, 16, 17);
    assert.equal(cache.leaver(), 16, "1 and 2 were used before, and are of layer 0");
    cache.ask(18, 3);
    // 1, 2 and 3 are more than half: ARC's order alone decides.
    assert.deepEqual(cache.list, [1, 2, 3, 18]);
    assert.equal(cache.leaver(), 1);
  });
});

describe("pre-attention", () => {
  it("wants what the layer's own router says before attention", () => {
    const policy = new PreAttention({ experts: 8 });
    assert.deepEqual(policy.sees, ["pre-attention"]);
    assert.deepEqual(policy.guessed({ layer: 3, experts: [5, 0] }), [29, 24]);
  });
});

describe("a predictor of paths", () => {
  const shape = { layers: 3, experts: 4, used: 1 };
  const learn = (predictor: PathPredictor, token: number, path: readonly number[]) =>
    path.forEach((expert, layer) => {
      predictor.learn(token, layer, [expert], layer > 0 ? [path[layer - 1]!] : undefined);
    });

  it("knows the path of a word by what it used", () => {
    const predictor = new PathPredictor(shape);
    for (let round = 0; round < 3; round++) {
      learn(predictor, 7, [0, 1, 2]);
      learn(predictor, 8, [3, 1, 0]);
    }
    assert.deepEqual(predictor.path(7), [[0], [1], [2]]);
    assert.deepEqual(predictor.path(8), [[3], [1], [0]]);
    assert.deepEqual(predictor.path(9), [[], [], []], "nothing is known of a new word");
  });

  it("goes by the layer before for a word that it does not know", () => {
    const predictor = new PathPredictor(shape);
    learn(predictor, 7, [0, 1, 2]);
    learn(predictor, 8, [3, 2, 0]);
    assert.deepEqual(predictor.guess(9, 1, [3]), [2]);
    assert.deepEqual(predictor.guess(9, 2, [1]), [2]);
  });

  it("lets a word's own uses outweigh what usually follows", () => {
    const predictor = new PathPredictor(shape);
    for (let round = 0; round < 50; round++) learn(predictor, 7, [0, 1, 2]);
    for (let round = 0; round < 3; round++) learn(predictor, 8, [0, 3, 3]);
    assert.deepEqual(predictor.path(8), [[0], [3], [3]]);
  });
});

describe("expertflow", () => {
  const shape = { layers: 3, experts: 4, used: 1, slots: 4 };
  let tick = 0;
  const begin = (policy: ExpertFlow, token: number) => policy.began([{ request: 1, token, position: tick }]);
  const route = (policy: ExpertFlow, token: number, layer: number, expert: number) => {
    tick++;
    policy.used(layer * 4 + expert, { tick, layer });
    const tokens = [{ request: 1, token, position: 0, chosen: [expert] }];
    return policy.routed({ layer, decoding: true, tokens });
  };
  const pass = (policy: ExpertFlow, token: number, path: readonly number[]) => {
    begin(policy, token);
    path.forEach((expert, layer) => {
      route(policy, token, layer, expert);
    });
  };

  it("wants the whole path when a step begins, and corrects it as routing is seen", () => {
    const policy = new ExpertFlow(shape);
    // Each path once: what a layer chose says as much as the word.
    pass(policy, 7, [0, 1, 2]);
    pass(policy, 8, [3, 2, 0]);
    assert.deepEqual(begin(policy, 7), [0, 4 + 1, 8 + 2]);
    // A new word: nothing, until its first layer shows whose path it takes.
    assert.deepEqual(begin(policy, 9), []);
    assert.deepEqual(route(policy, 9, 0, 3), [4 + 2, 8 + 0]);
    assert.deepEqual(route(policy, 9, 1, 1), [8 + 2]);
  });

  it("gives what is on no path to come, of that the one whose use is longest ago", () => {
    const policy = new ExpertFlow(shape);
    pass(policy, 7, [0, 1, 2]);
    pass(policy, 8, [3, 2, 0]);
    begin(policy, 7);
    const now = { tick, layer: -1 };
    const worth = (expert: number) => policy.worth(expert, now);
    assert.ok(worth(3) < worth(4 + 2), "3 was used before");
    assert.ok(worth(4 + 2) < worth(8 + 2), "10 is on the path, though its use is longest ago");
    assert.ok(worth(8 + 2) < worth(0), "of the path, what comes last gives first");
  });
});
