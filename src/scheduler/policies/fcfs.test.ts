import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SequenceView } from "../plan.ts";
import { FirstComeFirstServed } from "./fcfs.ts";

const policy = new FirstComeFirstServed();

/** Sequences in any order, some of them arrived at the same time. */
const sequences = fc
  .array(
    fc.record({
      arrived: fc.nat({ max: 10 }),
      pending: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 90 })),
    }),
    {
      maxLength: 20,
    },
  )
  .map((list): SequenceView[] => list.map((entry, index) => ({ id: index + 1, ...entry })))
  .chain((list) => fc.shuffledSubarray(list, { minLength: list.length }));
const budget = fc.integer({ min: 1, max: 64 });
const runs = { numRuns: 500, seed: 3 };

test("a step is within its budget, every share valid, and nothing is left over that could run", () => {
  fc.assert(
    fc.property(sequences, budget, (running, tokens) => {
      const before = structuredClone(running);
      const shares = policy.plan(0, running, { tokens });
      assert.deepEqual(running, before, "the policy changes nothing that it is told");
      const used = shares.reduce((sum, share) => sum + share.tokens, 0);
      const pending = running.reduce((sum, sequence) => sum + sequence.pending, 0);
      assert.equal(used, Math.min(tokens, pending));
      assert.equal(new Set(shares.map(({ id }) => id)).size, shares.length);
      for (const share of shares) {
        const sequence = running.find(({ id }) => id === share.id)!;
        assert.ok(Number.isInteger(share.tokens) && share.tokens >= 1 && share.tokens <= sequence.pending);
      }
    }),
    runs,
  );
});

test("decodes come before prefills, and both in the order of arrival", () => {
  fc.assert(
    fc.property(sequences, budget, (running, tokens) => {
      const shares = policy.plan(0, running, { tokens });
      const rank = ({ id, arrived, pending }: SequenceView) =>
        (pending === 1 ? 0 : 1e6) + arrived * 1000 + id;
      const expected = [...running].sort((a, b) => rank(a) - rank(b)).map(({ id }) => id);
      assert.deepEqual(
        shares.map(({ id }) => id),
        expected.slice(0, shares.length),
      );
      const cut = shares.filter(
        ({ id, tokens }) => tokens < running.find((sequence) => sequence.id === id)!.pending,
      );
      assert.ok(
        cut.length <= 1 && (cut[0] === undefined || cut[0] === shares.at(-1)),
        "only the last is cut short",
      );
    }),
    runs,
  );
});

test("every sequence is served in the end, the earlier prompt never after the later", () => {
  fc.assert(
    fc.property(sequences, budget, (running, tokens) => {
      const left = new Map(running.map((sequence) => [sequence.id, sequence.pending]));
      const done: number[] = [];
      const total = running.reduce((sum, { pending }) => sum + pending, 0);
      for (let step = 0; left.size > 0; step++) {
        assert.ok(step <= Math.ceil(total / tokens), "no step is wasted");
        const now = running
          .filter(({ id }) => left.has(id))
          .map((sequence) => ({ ...sequence, pending: left.get(sequence.id)! }));
        for (const share of policy.plan(step, now, { tokens })) {
          const rest = left.get(share.id)! - share.tokens;
          if (rest > 0) left.set(share.id, rest);
          else {
            left.delete(share.id);
            done.push(share.id);
          }
        }
      }
      assert.equal(done.length, running.length);
      const prompts = running
        .filter(({ pending }) => pending > 1)
        .sort((a, b) => a.arrived - b.arrived || a.id - b.id);
      const order = prompts.map(({ id }) => done.indexOf(id));
      assert.deepEqual(
        order,
        [...order].sort((a, b) => a - b),
      );
    }),
    runs,
  );
});

test("no sequences, no shares", () => {
  assert.deepEqual(policy.plan(0, [], { tokens: 8 }), []);
});
