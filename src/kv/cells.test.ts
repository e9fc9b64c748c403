import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CellAllocator } from "./cells.ts";

/** The plainest allocator: a flag a cell, first fit. */
class NaiveCells {
  readonly taken: boolean[];

  constructor(total: number) {
    this.taken = new Array(total).fill(false);
  }

  isFree(first: number, count: number): boolean {
    return first + count <= this.taken.length && !this.taken.slice(first, first + count).includes(true);
  }

  firstFit(count: number): number | undefined {
    const found = this.taken.findIndex((_, first) => this.isFree(first, count));
    return found < 0 ? undefined : found;
  }

  longestFree(): number {
    return Math.max(
      ...this.taken
        .map((taken) => (taken ? "x" : "."))
        .join("")
        .split("x")
        .map((run) => run.length),
    );
  }

  mark(first: number, count: number, taken: boolean): void {
    this.taken.fill(taken, first, first + count);
  }
}

const operation = fc.oneof(
  fc.record({ kind: fc.constant("allocate" as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant("extend" as const), which: fc.nat(), more: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ kind: fc.constant("release" as const), which: fc.nat() }),
  fc.record({
    kind: fc.constant("reserve" as const),
    first: fc.nat({ max: 39 }),
    count: fc.integer({ min: 1, max: 6 }),
  }),
);

test("cells are handed out as a flag a cell would say, and free runs join again", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const total = 40;
      const cells = new CellAllocator(total);
      const naive = new NaiveCells(total);
      const runs: { first: number; count: number }[] = [];
      const take = (first: number, count: number) => {
        naive.mark(first, count, true);
        runs.push({ first, count });
      };
      for (const step of operations) {
        if (step.kind === "allocate") {
          const first = cells.allocate(step.count);
          assert.equal(first, naive.firstFit(step.count));
          if (first !== undefined) take(first, step.count);
        } else if (step.kind === "reserve") {
          if (!naive.isFree(step.first, step.count)) {
            assert.throws(() => cells.reserve(step.first, step.count), /are not free/);
          } else {
            cells.reserve(step.first, step.count);
            take(step.first, step.count);
          }
        } else if (runs.length > 0) {
          const index = step.which % runs.length;
          const run = runs[index]!;
          if (step.kind === "release") {
            cells.release(run.first, run.count);
            naive.mark(run.first, run.count, false);
            runs.splice(index, 1);
          } else {
            const fits = naive.isFree(run.first + run.count, step.more);
            assert.equal(cells.extend(run.first, run.count, run.count + step.more), fits);
            if (!fits) continue;
            run.count += step.more;
            naive.mark(run.first, run.count, true);
          }
        }
        assert.equal(cells.freeCount, naive.taken.filter((taken) => !taken).length);
        const longest = naive.longestFree();
        assert.equal(cells.allocate(longest + 1), undefined);
        if (longest === 0) continue;
        const probe = cells.allocate(longest)!;
        assert.equal(probe, naive.firstFit(longest));
        cells.release(probe, longest);
      }
    }),
    { numRuns: 500, seed: 11 },
  );
});

test("no cells at all", () => {
  const none = new CellAllocator(0);
  assert.equal(none.allocate(1), undefined);
  assert.equal(none.freeCount, 0);
});
