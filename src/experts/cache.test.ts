import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { ExpertCache } from "./cache.ts";
import type { ExpertLayout } from "./layout.ts";
import { PolicyPair } from "./policies/pair.ts";
import { policyPair } from "./policies/policies.ts";
import type { EvictionPolicy } from "./policies/policy.ts";
import { ExpertSlots, slotCounts } from "./slots.ts";
import type { ExpertStore } from "./store.ts";

const backend = new Backend(loadNative(), { threads: 1 });
const recordBytes = 4096;

/** Experts of one small matrix each. */
const layout: ExpertLayout = {
  layers: 3,
  experts: 4,
  classes: [
    {
      matrices: [
        { weights: ["w"], type: "F32", shape: [32, 32], bytes: recordBytes, offset: 0, repacked: false },
      ],
      recordBytes,
    },
  ],
  layerClass: [0, 0, 0],
  sources: [],
};

/** A store whose reads end when they are told to: faults and races that no disk makes on demand. Fills records with layer and expert. */
class HeldStore implements ExpertStore {
  readonly kind = "prepared";
  readonly unbuffered = true;
  readonly began: string[] = [];
  closed = false;
  /** Reads end by themselves, after so many ms. */
  free = false;
  delay = 0;
  readonly #held = new Map<string, { end: () => void; fail: (error: Error) => void }>();

  async read(layer: number, expert: number, target: Uint8Array): Promise<void> {
    const name = `${layer}.${expert}`;
    this.began.push(name);
    if (!this.free) {
      await new Promise<void>((resolve, reject) => this.#held.set(name, { end: resolve, fail: reject }));
    }
    if (this.delay > 0) await new Promise((resolve) => setTimeout(resolve, this.delay));
    target.fill(16 * layer + expert);
  }

  async end(...names: string[]): Promise<void> {
    for (const name of names) this.#held.get(name)!.end();
    await turns();
  }

  async fail(name: string): Promise<void> {
    this.#held.get(name)!.fail(new Error(`no ${name}`));
    await turns();
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

async function turns(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function cacheOf(slots: number, options: { free?: boolean; readsInFlight?: number } = {}) {
  const store = new HeldStore();
  store.free = options.free ?? false;
  const memory = new ExpertSlots(backend, layout, [slots]);
  const policy = policyPair("lru", { ...layout, used: 2, slots }, "next-gate");
  const cache = new ExpertCache(store, memory, policy, { readsInFlight: options.readsInFlight ?? 8 });
  /** What lies in the slot of an expert that is held. */
  const content = (layer: number, expert: number) => memory.bytes(layer, cache.slotOf(layer, expert))[0];
  return { store, cache, content };
}

/** Whether a promise has settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.then(
    () => {
      settled = true;
    },
    () => {
      settled = true;
    },
  );
  await turns();
  return settled;
}

describe("experts that a decode step holds", () => {
  test("are there when it goes on, are found again, and leave by the policy", async () => {
    const { store, cache, content } = cacheOf(3, { free: true });
    await cache.acquire(0, [1, 2]);
    assert.deepEqual([content(0, 1), content(0, 2)], [1, 2]);
    cache.release(0, [1, 2]);
    await cache.acquire(1, [3]);
    cache.release(1, [3]);
    await cache.acquire(0, [2]);
    cache.release(0, [2]);
    assert.deepEqual(store.began, ["0.1", "0.2", "1.3"]);
    await cache.acquire(2, [0]);
    assert.equal(content(2, 0), 32);
    cache.release(2, [0]);
    // 0.1 was used longest ago and has left.
    await cache.acquire(0, [2, 1]);
    assert.deepEqual(store.began.slice(3), ["2.0", "0.1"]);
    const { hits, misses } = cache.metrics.total;
    assert.deepEqual([hits, misses], [2, 5]);
    cache.release(0, [1, 2]);
    await cache.dispose();
    assert.ok(store.closed);
  });

  test("never lose their slot while they are held", async () => {
    const { cache, content } = cacheOf(3, { free: true });
    await cache.acquire(0, [0, 1]);
    cache.guessed({ layer: 1, experts: [0, 1, 2, 3] });
    await turns();
    cache.guessed({ layer: 2, experts: [0, 1, 2, 3] });
    await turns();
    assert.deepEqual([content(0, 0), content(0, 1)], [0, 1]);
    cache.release(0, [0, 1]);
    await cache.dispose();
  });

  test("a failed read fails the step alone: nothing stays pinned, and the next try works", async () => {
    const { store, cache, content } = cacheOf(3);
    const acquired = cache.acquire(0, [0, 1]);
    acquired.catch(() => {});
    await turns();
    await store.fail("0.0");
    assert.equal(await isSettled(acquired), false, "the other read still writes into its slot");
    await store.end("0.1");
    await assert.rejects(acquired, /no 0\.0/);
    store.free = true;
    await cache.acquire(0, [0, 1, 2]);
    assert.deepEqual([content(0, 0), content(0, 1), content(0, 2)], [0, 1, 2]);
    assert.deepEqual(store.began, ["0.0", "0.1", "0.0", "0.2"], "what was read is not read again");
    cache.release(0, [0, 1, 2]);
    await cache.dispose();
  });

  test("get a slot also where reads ahead hold all of them: what has begun is waited for, the others never begin", async () => {
    const { store, cache, content } = cacheOf(2, { readsInFlight: 1 });
    cache.guessed({ layer: 1, experts: [0, 1] });
    assert.deepEqual(store.began, ["1.0"]);
    const acquired = cache.acquire(0, [2, 3]);
    await turns();
    await store.end("1.0");
    await store.end("0.2");
    await store.end("0.3");
    await acquired;
    assert.deepEqual([content(0, 2), content(0, 3)], [2, 3]);
    assert.ok(!store.began.includes("1.1"));
    cache.release(0, [2, 3]);
    await cache.dispose();
  });

  test("a prefetch that is asked for while it is read is waited for, not read twice", async () => {
    const { store, cache } = cacheOf(3);
    cache.guessed({ layer: 0, experts: [1] });
    const acquired = cache.acquire(0, [1]);
    assert.equal(await isSettled(acquired), false);
    await store.end("0.1");
    await acquired;
    assert.deepEqual(store.began, ["0.1"]);
    assert.equal(cache.metrics.total.late, 1);
    cache.release(0, [1]);
    await cache.dispose();
  });
});

describe("experts that a long step takes in waves", () => {
  async function waves(cache: ExpertCache, layer: number, experts: readonly number[]): Promise<number[][]> {
    const seen: number[][] = [];
    for await (const wave of cache.waves(layer, experts)) {
      for (const expert of wave) cache.slotOf(layer, expert);
      seen.push([...wave]);
    }
    return seen;
  }

  test("come each once, those that are there first", async () => {
    const { cache } = cacheOf(4, { free: true });
    await cache.acquire(0, [2]);
    cache.release(0, [2]);
    const seen = await waves(cache, 0, [0, 1, 2, 3]);
    assert.deepEqual(seen[0], [2]);
    assert.deepEqual(seen.flat().sort(), [0, 1, 2, 3]);
    await cache.dispose();
  });

  test("come through a single slot", async () => {
    const { cache } = cacheOf(1, { free: true });
    assert.deepEqual(await waves(cache, 1, [3, 1, 2]), [[3], [1], [2]]);
    await cache.dispose();
  });

  test("leave what decoding uses where it is: what passes through is the first to leave", async () => {
    const { store, cache } = cacheOf(6, { free: true });
    await cache.acquire(0, [0, 1]);
    cache.release(0, [0, 1]);
    await cache.acquire(1, [0, 1]);
    cache.release(1, [0, 1]);
    for (const layer of [0, 1, 2, 0, 1, 2]) await waves(cache, layer, [0, 1, 2, 3]);
    store.began.length = 0;
    await cache.acquire(0, [0, 1]);
    cache.release(0, [0, 1]);
    await cache.acquire(1, [0, 1]);
    cache.release(1, [0, 1]);
    assert.ok(store.began.length <= 2, `read again: ${store.began.join()}`);
    await cache.dispose();
  });

  test("a failed read ends them with its error, and gives all of them back", async () => {
    const { store, cache } = cacheOf(4);
    const seen = waves(cache, 0, [0, 1]);
    seen.catch(() => {});
    await turns();
    await store.fail("0.0");
    await assert.rejects(seen, /no 0\.0/);
    await store.end("0.1");
    store.free = true;
    await cache.acquire(0, [0, 1, 2, 3]);
    cache.release(0, [0, 1, 2, 3]);
    await cache.dispose();
  });

  test("left early, nothing stays pinned", async () => {
    const { cache } = cacheOf(2, { free: true });
    for await (const wave of cache.waves(0, [0, 1, 2])) {
      assert.ok(wave.length > 0);
      break;
    }
    await cache.acquire(1, [0, 1]);
    cache.release(1, [0, 1]);
    await cache.dispose();
  });
});

test("reads that run are waited for when the cache is given back, those that wait are dropped", async () => {
  const { store, cache } = cacheOf(3, { readsInFlight: 1 });
  cache.guessed({ layer: 0, experts: [0, 1, 2] });
  const disposed = cache.dispose();
  assert.equal(await isSettled(disposed), false);
  await store.end("0.0");
  await disposed;
  assert.deepEqual(store.began, ["0.0"]);
  assert.ok(store.closed);
});

describe("reading ahead", () => {
  /** Steps in which every expert of a layer is read anew, with guesses that are right or wrong. */
  async function run(guess: (chosen: number) => number, steps: number) {
    const { cache } = cacheOf(2, { free: true, readsInFlight: 1 });
    for (let step = 0; step < steps; step++) {
      for (let layer = 0; layer < layout.layers; layer++) {
        const chosen = (step * 3 + layer) % 4;
        await cache.acquire(layer, [chosen]);
        const next = (step * 3 + layer + 1) % 4;
        if (layer < 2) cache.guessed({ layer: layer + 1, experts: [guess(next)] });
        await turns();
        cache.release(layer, [chosen]);
      }
    }
    const { prefetchesUseful, prefetchesWasted, late } = cache.metrics.total;
    await cache.dispose();
    return { right: prefetchesUseful + late, wasted: prefetchesWasted };
  }

  test("counts what was right", async () => {
    assert.deepEqual(await run((next) => next, 20), { right: 40, wasted: 0 });
  });

  test("counts what was wrong", async () => {
    const { right, wasted } = await run((next) => (next + 1) % 4, 20);
    assert.ok(right === 0 && wasted >= 30, `${right} right, ${wasted} wasted`);
  });

  test("begins with what is wanted now: a later list takes the place of what has not begun", async () => {
    const { store, cache } = cacheOf(4, { readsInFlight: 1 });
    cache.guessed({ layer: 1, experts: [0, 1] });
    cache.guessed({ layer: 2, experts: [3, 2] });
    await store.end("1.0");
    assert.deepEqual(store.began, ["1.0", "2.3"]);
    await store.end("2.3");
    await store.end("2.2");
    await cache.dispose();
  });

  test("takes the slot of nothing that is wanted too", async () => {
    const { store, cache } = cacheOf(2, { free: true, readsInFlight: 1 });
    for (const expert of [0, 1]) {
      await cache.acquire(1, [expert]);
      cache.release(1, [expert]);
    }
    cache.guessed({ layer: 1, experts: [0, 1, 2] });
    await turns();
    assert.deepEqual(store.began, ["1.0", "1.1"], "there is no room for the third");
    cache.guessed({ layer: 1, experts: [0, 2] });
    await turns();
    assert.deepEqual(store.began, ["1.0", "1.1", "1.2"]);
    await cache.acquire(1, [0, 2]);
    assert.equal(cache.metrics.total.misses, 2);
    cache.release(1, [0, 2]);
    await cache.dispose();
  });

  test("a policy is told of no dense layers, and asked again by the numbers of the model", async () => {
    const store = new HeldStore();
    store.free = true;
    const dense = { ...layout, layers: 4, layerClass: [null, 0, 0, 0] };
    const slots = new ExpertSlots(backend, dense, [3]);
    const seen: number[] = [];
    const lru = policyPair("lru", { ...layout, used: 1, slots: 3 }).eviction;
    const eviction: EvictionPolicy = {
      name: "seen",
      used: (expert, { layer }) => seen.push(expert, layer),
      entered: () => {},
      left: () => {},
      worth: (expert, now) => lru.worth(expert, now),
    };
    const cache = new ExpertCache(store, slots, new PolicyPair(eviction, undefined), { readsInFlight: 1 });
    await cache.acquire(2, [3]);
    assert.deepEqual([seen, store.began], [[7, 1], ["2.3"]]);
    cache.release(2, [3]);
    await cache.dispose();
  });
});

describe("slots for a budget", () => {
  const mixed: ExpertLayout = {
    ...layout,
    classes: [layout.classes[0]!, { ...layout.classes[0]!, recordBytes: 2 * recordBytes }],
    layerClass: [0, 1, 1],
  };

  test("are shared in the proportion of the layers of each class, and never exceed it", () => {
    const all = 4 * recordBytes * (1 + 2 + 2);
    assert.deepEqual(slotCounts(mixed, all, 1), [4, 8]);
    assert.deepEqual(slotCounts(mixed, all / 2, 1), [2, 4]);
    for (let budget = 3 * recordBytes; budget < all; budget += 1000) {
      const [one, two] = slotCounts(mixed, budget, 1) as [number, number];
      assert.ok(one >= 1 && two >= 1 && (one + 2 * two) * recordBytes <= budget);
    }
  });

  test("too small a budget is an error that says the least that works", () => {
    const least = 2 * recordBytes + 2 * 2 * recordBytes;
    assert.deepEqual(slotCounts(mixed, least, 2), [2, 2]);
    assert.throws(
      () => slotCounts(mixed, least - 1, 2),
      (error: { code?: string; message?: string }) => error.code === "expert_memory",
    );
  });
});

test("what lies where, how often it was used lately, and what came while which policy decided", async () => {
  const { store, cache } = cacheOf(5, { readsInFlight: 2 });
  const states = (isStepping: boolean) => cache.residency(isStepping).layers.map(({ states }) => states);
  const step = async (chosen: readonly number[]) => {
    cache.began([]);
    for (const [layer, expert] of chosen.entries()) {
      await cache.acquire(layer, [expert]);
      cache.release(layer, [expert]);
    }
    cache.stepped();
  };
  assert.deepEqual(states(true), ["....", "....", "...."]);
  const acquired = cache.acquire(0, [1]);
  assert.deepEqual(states(true), [".r..", "....", "...."]);
  await store.end("0.1");
  await acquired;
  assert.deepEqual(states(false), [".u..", "....", "...."], "it is held");
  cache.release(0, [1]);
  assert.deepEqual(states(true), [".u..", "....", "...."], "the step goes on");
  assert.deepEqual(states(false), [".p..", "....", "...."]);
  cache.guessed({ layer: 2, experts: [3, 0] });
  await store.end("2.3");
  assert.deepEqual(states(false), [".p..", "....", "r..a"]);
  await store.end("2.0");

  store.free = true;
  await step([1, 0, 3]);
  for (let index = 0; index < 3; index++) await step([1, 0, index]);
  const { slots, bytes, policy, layers, outcomes } = cache.residency(false);
  const acting = { eviction: "lru", prefetch: "next-gate" };
  assert.deepEqual([slots, bytes], [5, 5 * recordBytes]);
  assert.deepEqual(policy, { ...acting, acting, says: undefined });
  assert.equal(layers[0]!.heat, "0900", "all steps used it");
  const heat = [...layers[2]!.heat].map(Number);
  assert.ok(heat.every((digit) => digit > 3 && digit < 6) && heat[2]! >= heat[3]!, layers[2]!.heat);
  assert.equal(
    layers.reduce((sum, { counts }) => sum + counts.hits + counts.misses, 0),
    13,
  );
  const [outcome] = outcomes;
  assert.equal(outcomes.length, 1);
  assert.deepEqual([outcome!.eviction, outcome!.prefetch, outcome!.steps], ["lru", "next-gate", 4]);
  // The first use of 0.1 was no step's that had begun.
  assert.equal(outcome!.hits + outcome!.misses, 12);
  assert.equal(outcome!.prefetchesUseful, 1);
  await cache.dispose();
});
