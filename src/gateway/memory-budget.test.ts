import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { MemoryBudget, type MemoryHolder } from "./memory-budget.ts";

interface Holder extends MemoryHolder {
  idle: boolean;
  lastUsed: number;
}

function holder(budget: MemoryBudget, name: string, lastUsed: number, left: string[]): Holder {
  const self: Holder = {
    name,
    lastUsed,
    idle: true,
    unload: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      left.push(name);
      budget.release(self);
    },
  };
  return self;
}

describe("the memory budget", () => {
  test("who is idle longest leaves, and no more of them than need be", async () => {
    const budget = new MemoryBudget(100);
    const left: string[] = [];
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name, index) => holder(budget, name, index, left));
    await budget.reserve(a!, 30);
    await budget.reserve(b!, 30);
    await budget.reserve(c!, 30);
    a!.lastUsed = 9;
    await budget.reserve(d!, 40);
    assert.deepEqual(left, ["b"]);
    assert.equal(budget.held, 100);
  });

  test("who is in use stays", async () => {
    const budget = new MemoryBudget(100);
    const left: string[] = [];
    const [a, b] = ["a", "b"].map((name, index) => holder(budget, name, index, left));
    await budget.reserve(a!, 60);
    a!.idle = false;
    await assert.rejects(budget.reserve(b!, 60), hasCode("model_room"));
    await assert.rejects(budget.reserve(b!, 101), hasCode("model_too_large"));
    assert.deepEqual(left, []);
    assert.equal(budget.held, 60);
    a!.idle = true;
    await budget.reserve(b!, 60);
    assert.deepEqual(left, ["a"]);
  });

  test("reservations at once are made one after the other, and never go over", async () => {
    const budget = new MemoryBudget(100);
    const left: string[] = [];
    const holders = Array.from({ length: 20 }, (_, index) => holder(budget, String(index), index, left));
    await Promise.all(
      holders.map((one) => budget.reserve(one, 45).then(() => assert.ok(budget.held <= 100))),
    );
    assert.equal(left.length, 18);
    assert.equal(budget.held, 90);
  });
});
