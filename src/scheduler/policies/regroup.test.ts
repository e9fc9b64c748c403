import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { SequenceView } from "../plan.ts";
import { FirstComeFirstServed } from "./fcfs.ts";
import { RegroupByExperts } from "./regroup.ts";

/** A word uses the expert of its tens in the first layer and of its ones in the second. */
const pathOf = (token: number) => [[Math.floor(token / 10)], [token % 10]];
const limits = { tokens: 64 };
const decoding = (id: number, token: number): SequenceView => ({
  id,
  arrived: id,
  pending: 1,
  tokens: [token],
});
const regroup = (most: number) => new RegroupByExperts(new FirstComeFirstServed(), most, pathOf);

describe("sequences that are regrouped", () => {
  it("are those that add the fewest experts to the first", () => {
    const running = [decoding(1, 11), decoding(2, 22), decoding(3, 12), decoding(4, 11)];
    const policy = regroup(2);
    const plan = () => policy.plan(0, running, limits).map(({ id }) => id);
    // 4 uses what 1 does; then 2 has waited longest, and 3 shares an expert with it.
    assert.deepEqual(plan(), [1, 4]);
    assert.deepEqual(plan(), [2, 3]);
  });

  it("are all of them where there are no more than a step may have, and prompts are left alone", () => {
    const running = [decoding(1, 11), decoding(2, 22), { id: 3, arrived: 3, pending: 20 }];
    const fcfs = new FirstComeFirstServed();
    assert.deepEqual(regroup(2).plan(0, running, limits), fcfs.plan(0, running, limits));
    assert.deepEqual(
      regroup(1)
        .plan(0, running, limits)
        .map(({ id }) => id),
      [1, 3],
    );
  });

  it("never wait for more than three steps in a row, and no step is empty", () => {
    const words = fc.array(fc.array(fc.nat(99), { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(words, fc.integer({ min: 1, max: 8 }), (texts, most) => {
        const policy = regroup(most);
        const done = texts.map(() => 0);
        const waits = texts.map(() => 0);
        while (texts.some((text, index) => done[index]! < text.length)) {
          const running = texts.flatMap((text, index) =>
            done[index]! < text.length ? [decoding(index, text[done[index]!]!)] : [],
          );
          const shares = policy.plan(0, running, limits);
          assert.ok(shares.length > 0);
          for (const { id } of running) {
            const runs = shares.some((share) => share.id === id);
            waits[id] = runs ? 0 : waits[id]! + 1;
            if (runs) done[id]!++;
            assert.ok(waits[id]! <= 3, `sequence ${id} waits for ${waits[id]} steps`);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
