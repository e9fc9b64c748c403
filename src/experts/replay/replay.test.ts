import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { PolicyPair } from "../policies/pair.ts";
import { type PolicyName, type PrefetchName, policyNames, policyPair } from "../policies/policies.ts";
import type { RoutingLog } from "../trace/routing-log.ts";
import { Belady } from "./belady.ts";
import { SimulatedDisk } from "./disk.ts";
import { Replay, type ReplaySetup } from "./replay.ts";
import { stepsOf } from "./steps.ts";

interface Choice {
  readonly step: number;
  readonly decoded: boolean;
  /** [layers][used] */
  readonly chosen: readonly (readonly number[])[];
}

function logOf(experts: number, tokens: readonly Choice[]): RoutingLog {
  const layers = tokens[0]!.chosen.length;
  const used = tokens[0]!.chosen[0]!.length;
  const count = tokens.length;
  return {
    ...{ model: "m", layers, experts, used, count, scores: undefined },
    request: new Uint32Array(count),
    position: Uint32Array.from(tokens.keys()),
    token: Int32Array.from(tokens, (_, index) => index % 7),
    step: Uint32Array.from(tokens, ({ step }) => step),
    decoded: Uint8Array.from(tokens, ({ decoded }) => (decoded ? 1 : 0)),
    chosen: Uint16Array.from(tokens.flatMap(({ chosen }) => chosen.flat())),
    // The routers guess right.
    guessed: Uint16Array.from(tokens.flatMap(({ chosen }) => [...chosen.slice(1), chosen[0]!].flat())),
    early: Uint16Array.from(tokens.flatMap(({ chosen }) => chosen.flat())),
  };
}

const experts = 6;
const traces = fc
  .record({
    layers: fc.integer({ min: 1, max: 3 }),
    used: fc.integer({ min: 1, max: 2 }),
    length: fc.integer({ min: 1, max: 40 }),
  })
  .chain(({ layers, used, length }) => {
    const ids = Array.from({ length: experts }, (_, expert) => expert);
    const choice = fc.shuffledSubarray(ids, { minLength: used, maxLength: used });
    const token = fc.array(choice, { minLength: layers, maxLength: layers });
    return fc.array(token, { minLength: length, maxLength: length }).map((rows) =>
      logOf(
        experts,
        rows.map((chosen, step) => ({ step, decoded: true, chosen })),
      ),
    );
  });
const slots = fc.integer({ min: 2, max: 12 });
const costs = { layerMs: 2, readMs: 1 };

function run(log: RoutingLog, setup: Omit<ReplaySetup, "costs">, readMs = 1) {
  const replay = new Replay(log, { ...setup, costs: { ...costs, readMs } });
  replay.run(stepsOf(log));
  return replay.result;
}

const policy = (name: PolicyName, log: RoutingLog, prefetch: PrefetchName = "none") =>
  policyPair(name, { ...log, slots: 4 }, prefetch);

describe("a replay", () => {
  it("of lru hits what a plain list hits", () => {
    fc.assert(
      fc.property(traces, slots, (log, slots) => {
        // Of two that were used by the same token, either may go.
        fc.pre(log.used === 1);
        const { hits, misses, uses, reads, stallMs } = run(log, {
          slots: [slots],
          policy: policy("lru", log),
        });
        let list: number[] = [];
        let expected = 0;
        for (let row = 0; row < log.count * log.layers; row++) {
          const first = (row % log.layers) * experts;
          const chosen = [...log.chosen.subarray(row * log.used, (row + 1) * log.used)].map((e) => first + e);
          expected += chosen.filter((id) => list.includes(id)).length;
          // All are used before one of the others has to go.
          list = [...list.filter((id) => !chosen.includes(id)), ...chosen].slice(-slots);
        }
        assert.equal(hits, expected);
        assert.deepEqual([misses, uses], [uses - hits, log.count * log.layers * log.used]);
        assert.deepEqual([reads, stallMs], [misses, misses], "one read after the other, 1 ms each");
      }),
    );
  });

  it("no eviction misses less than Belady's", () => {
    fc.assert(
      fc.property(traces, slots, (log, slots) => {
        const best = run(log, {
          slots: [slots],
          policy: new PolicyPair(new Belady(log, stepsOf(log)), undefined),
        }).misses;
        for (const name of policyNames) {
          assert.ok(run(log, { slots: [slots], policy: policy(name, log) }).misses >= best, name);
        }
      }),
    );
  });

  it("right guesses that come in time turn every miss behind the first layer into a hit", () => {
    const token = (step: number) => ({
      step,
      decoded: true,
      chosen: [[step % 6], [(step + 1) % 6], [(step + 2) % 6]],
    });
    const log = logOf(
      experts,
      Array.from({ length: 30 }, (_, step) => token(step)),
    );
    const setup = { slots: [3], policy: policy("lru", log) };
    const without = run(log, setup);
    const ahead = run(log, { slots: [3], policy: policy("lru", log, "next-gate") });
    assert.equal(without.misses, 90);
    assert.deepEqual([ahead.misses, ahead.late, ahead.wasted, ahead.reads], [30, 0, 0, 90]);
    assert.equal(ahead.stallMs, 30);
    // A disk that takes longer than a layer: they are under way when they are asked for.
    const slow = run(log, { slots: [3], policy: policy("lru", log, "next-gate") }, 3);
    assert.deepEqual([slow.misses, slow.late], [30, 60]);
    assert.ok(slow.stallMs < 90 * 3 - 60);
  });

  it("a prompt leaves what decoding uses where it is", () => {
    const decode = (step: number) => ({ step, decoded: true, chosen: [[step % 2]] });
    const prompt = Array.from({ length: 6 }, (_, token) => ({ step: 10, decoded: false, chosen: [[token]] }));
    const log = logOf(experts, [...[0, 1, 2, 3].map(decode), ...prompt, ...[12, 13].map(decode)]);
    const { hits, misses, tokens } = run(log, { slots: [3], policy: policy("lru", log) });
    assert.deepEqual([hits, misses, tokens], [4, 2, 6]);
  });

  it("layers of another class of experts have slots of their own", () => {
    const token = (step: number) => ({ step, decoded: true, chosen: [[step % 2], [step % 3]] });
    const log = logOf(
      experts,
      Array.from({ length: 30 }, (_, step) => token(step)),
    );
    // Two experts in turn fit in two slots, three do not.
    const setup = { slots: [2, 2], layerClass: [0, 1], policy: policy("lru", log) };
    assert.deepEqual([run(log, setup).misses], [2 + 30]);
  });

  it("counts from where it is told to", () => {
    const log = logOf(
      experts,
      [0, 1, 0, 1].map((expert, step) => ({ step, decoded: true, chosen: [[expert]] })),
    );
    const replay = new Replay(log, { slots: [2], policy: policy("lru", log), costs });
    const steps = stepsOf(log);
    replay.run(steps.slice(0, 2));
    replay.clearCounts();
    replay.run(steps.slice(2));
    assert.deepEqual(replay.result, {
      tokens: 2,
      uses: 2,
      hits: 2,
      late: 0,
      misses: 0,
      reads: 0,
      wasted: 0,
      stallMs: 0,
    });
  });
});

describe("a simulated disk", () => {
  it("reads one after the other, demands before what is read ahead, and never stops one that has begun", () => {
    const [first, second] = [{ done: false }, { done: false }];
    const ahead = [first, second];
    const disk = new SimulatedDisk({ readMs: 10 }, () => ahead.shift());
    disk.advance(0);
    const demand = disk.demand({ done: false }, 5);
    assert.equal(disk.wait([demand], 5), 20);
    assert.deepEqual([first.done, second.done], [true, false]);
    assert.equal(disk.wait([second], 22), 30);
    // Nothing was to be read for a while.
    assert.equal(disk.wait([disk.demand({ done: false }, 100)], 100), 110);
    assert.equal(disk.reads, 4);
  });

  it("takes a latency and so much a read for reads that are asked for together", () => {
    const disk = new SimulatedDisk({ readMs: 10, latencies: [3], readsInFlight: 2 });
    const reads = [
      disk.demand({ done: false }, 0),
      disk.demand({ done: false }, 0),
      disk.demand({ done: false }, 0),
    ];
    assert.equal(disk.wait(reads.slice(0, 1), 0), 13);
    // The third begins when the first is done: its latency overlaps with the second's bytes.
    assert.equal(disk.wait(reads, 13), 33);
    assert.equal(disk.wait([disk.demand({ done: false }, 50)], 50), 63);
  });
});
