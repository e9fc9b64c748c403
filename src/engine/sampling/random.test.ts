import assert from "node:assert/strict";
import { test } from "node:test";
import { splitMix64, Xoshiro128 } from "./random.ts";

test("SplitMix64 gives the published sequence of seed 1234567", () => {
  assert.deepEqual(splitMix64(1234567n, 5), [
    6457827717110365317n,
    3203168211198807973n,
    9817491932198370423n,
    4593380528125082431n,
    16408922859458223821n,
  ]);
});

test("xoshiro128** gives the published sequence of state 1, 2, 3, 4", () => {
  const random = new Xoshiro128([1, 2, 3, 4]);
  assert.deepEqual(
    Array.from({ length: 10 }, () => random.nextUint32()),
    [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804],
  );
});

test("a seed decides the sequence: negative, large and neighbouring seeds all differ", () => {
  const draw = (seed: number) => {
    const random = Xoshiro128.fromSeed(seed);
    return Array.from({ length: 4 }, () => random.nextUnit()).join();
  };
  const seeds = [0, 1, 2, -1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];
  assert.equal(new Set(seeds.map(draw)).size, seeds.length);
  for (const seed of seeds) assert.equal(draw(seed), draw(seed));
});

test("unit draws fill [0, 1) evenly", () => {
  const random = Xoshiro128.fromSeed(7);
  const n = 200_000;
  const bins = new Array<number>(100).fill(0);
  for (let i = 0; i < n; i++) {
    const u = random.nextUnit();
    assert.ok(u >= 0 && u < 1);
    bins[Math.floor(u * 100)]! += 1;
  }
  const chi2 = bins.reduce((sum, seen) => sum + (seen - n / 100) ** 2 / (n / 100), 0);
  // 99 degrees of freedom: above 161 with probability 1e-4 for an even source; below 51 as rarely.
  assert.ok(chi2 > 51 && chi2 < 161, `chi-square ${chi2}`);
});
