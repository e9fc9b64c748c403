import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { cellStep, KvCache, type KvRun } from "./cache.ts";
import { KvTensors, kvBytes } from "./tensors.ts";
import { defaultKvTypes } from "./types.ts";

const backend = new Backend(loadNative(), { threads: 1 });
const shape = { layers: 2, width: 2, types: defaultKvTypes };
const allTensors: KvTensors[] = [];
after(() => {
  for (const tensors of allTensors) tensors.dispose();
  backend.dispose();
});

/** A cache of so many steps of cells, in memory that holds anything but numbers. */
function newCache(steps: number) {
  const tensors = new KvTensors(backend, { ...shape, cells: steps * cellStep });
  allTensors.push(tensors);
  for (const tensor of [...tensors.keys, ...tensors.values]) {
    assert.ok(
      tensor.halves().every((half) => half === 0),
      "attention may read cells that were never written",
    );
  }
  const cache = new KvCache(tensors);
  return { cache, tensors };
}

/** Stands for what the model computes: the value of a cell depends on its token, its position and its tensor. */
function storedFor(token: number, position: number, tensor: number): number {
  return (token * 31 + position * 7 + tensor) % 0x7000;
}

function write(tensors: KvTensors, run: KvRun, tokens: readonly number[]): void {
  for (const token of tokens) {
    const position = run.tokens.length;
    assert.ok(position < run.capacity, "written inside its cells");
    [...tensors.keys, ...tensors.values].forEach((tensor, index) => {
      const cell = (run.first + position) * shape.width;
      tensor.halves().fill(storedFor(token, position, index), cell, cell + shape.width);
    });
    run.tokens.push(token);
  }
}

/** Every token's cells hold what was written for it. */
function checkContents(tensors: KvTensors, run: KvRun): void {
  [...tensors.keys, ...tensors.values].forEach((tensor, index) => {
    const cells = tensor.halves().subarray(run.first * shape.width, (run.first + run.capacity) * shape.width);
    for (const [position, token] of run.tokens.entries()) {
      const expected = storedFor(token, position, index);
      for (let element = 0; element < shape.width; element++) {
        assert.equal(
          cells[position * shape.width + element],
          expected,
          `position ${position} of ${run.tokens.length}`,
        );
      }
    }
  });
}

function range(length: number, first = 0): number[] {
  return Array.from({ length }, (_, index) => first + index);
}

/** A sequence from its start to its end: opened, computed, closed. */
function serve({ cache, tensors }: ReturnType<typeof newCache>, tokens: readonly number[]): KvRun {
  const run = cache.open(tokens, tokens.length)!;
  write(tensors, run, tokens.slice(run.tokens.length));
  checkContents(tensors, run);
  cache.close(run);
  return run;
}

test("the memory is as large as planned", () => {
  const { tensors, cache } = newCache(3);
  const bytes = [...tensors.keys, ...tensors.values].reduce((sum, tensor) => sum + tensor.byteLength, 0);
  assert.equal(kvBytes(tensors.shape), bytes);
  assert.equal(cache.total, 3 * cellStep);
  assert.equal(cache.available, 3 * cellStep);
});

test("a continuation takes the kept run over; all but its last token are there", () => {
  const kv = newCache(4);
  const prompt = range(300);
  const first = serve(kv, prompt);
  assert.equal(kv.cache.keptRuns, 1);
  const again = kv.cache.open([...prompt, 999], 301)!;
  assert.deepEqual(again.tokens, prompt);
  assert.equal(again.first, first.first);
  assert.equal(kv.cache.keptRuns, 0);
  checkContents(kv.tensors, again);
  kv.cache.close(again);
  const same = kv.cache.open(prompt, 300)!;
  assert.equal(same.tokens.length, 299, "the last token has to run for its logits");
});

test("a branch off gets a copy, and the original stays", () => {
  const kv = newCache(6);
  const first = serve(kv, range(300));
  const branch = [...range(280), 900, 901];
  const run = kv.cache.open(branch, branch.length)!;
  assert.deepEqual(run.tokens, range(280));
  assert.notEqual(run.first, first.first);
  write(kv.tensors, run, [900, 901]);
  checkContents(kv.tensors, run);
  const original = kv.cache.open([...range(300), 5], 301)!;
  assert.deepEqual(original.tokens, range(300));
  checkContents(kv.tensors, original);
  checkContents(kv.tensors, run);
});

test("a branch off takes the original where there is no room for a copy", () => {
  const kv = newCache(2);
  serve(kv, range(300));
  const run = kv.cache.open([...range(280), 900], 281)!;
  assert.deepEqual(run.tokens, range(280));
  assert.equal(kv.cache.keptRuns, 0);
  checkContents(kv.tensors, run);
});

test("the longest of several prefixes is found", () => {
  const kv = newCache(8);
  serve(kv, range(20));
  serve(kv, [...range(10), ...range(30, 500)]);
  serve(kv, range(15, 700));
  const run = kv.cache.open([...range(10), ...range(25, 500), 7], 36)!;
  assert.equal(run.tokens.length, 35);
  checkContents(kv.tensors, run);
  assert.equal(kv.cache.open([1, 2, 3], 3)!.tokens.length, 0);
});

test("the oldest use goes first when memory is needed", () => {
  const kv = newCache(3);
  const [a, b, c] = [range(10), range(10, 100), range(10, 200)];
  for (const tokens of [a, b, c]) serve(kv, tokens);
  serve(kv, [...a, 11]);
  serve(kv, range(10, 300));
  const reused = (tokens: readonly number[]) => {
    const run = kv.cache.open([...tokens, 1], tokens.length + 1)!;
    const { length } = run.tokens;
    kv.cache.close(run);
    return length;
  };
  assert.equal(reused([...a, 11]), 11, "used last but one");
  assert.equal(reused(c), 10);
  assert.equal(reused(range(10, 300)), 10);
  assert.equal(reused(b), 0, "used least lately");
});

test("a run grows in place where the cells behind it are free", () => {
  const { cache, tensors } = newCache(4);
  const run = cache.open([1], 1)!;
  write(tensors, run, range(cellStep));
  assert.ok(cache.grow(run, cellStep + 1));
  assert.deepEqual([run.first, run.capacity], [0, 2 * cellStep]);
  assert.ok(cache.grow(run, 10), "never shrinks");
  assert.equal(run.capacity, 2 * cellStep);
  checkContents(tensors, run);
});

test("a run grows by moving where they are not, with its contents", () => {
  const { cache, tensors } = newCache(5);
  const run = cache.open([1], 1)!;
  const neighbour = cache.open([2], 1)!;
  write(tensors, run, range(cellStep));
  write(tensors, neighbour, range(9, 50));
  assert.ok(cache.grow(run, 2 * cellStep));
  assert.deepEqual([run.first, run.capacity], [2 * cellStep, 2 * cellStep]);
  checkContents(tensors, run);
  checkContents(tensors, neighbour);
  assert.equal(cache.available, 2 * cellStep);
});

test("a run slides over its own cells where only they make the room", () => {
  const { cache, tensors } = newCache(5);
  const before = cache.open([1], 2 * cellStep)!;
  const run = cache.open([2], 2 * cellStep)!;
  const behind = cache.open([3], 1)!;
  write(tensors, run, range(2 * cellStep));
  write(tensors, behind, range(5, 70));
  cache.close(before);
  assert.ok(cache.grow(run, 4 * cellStep));
  assert.deepEqual([run.first, run.capacity], [0, 4 * cellStep]);
  checkContents(tensors, run);
  checkContents(tensors, behind);
});

test("a run that cannot grow stays as it was", () => {
  const { cache, tensors } = newCache(3);
  const run = cache.open([1], 1)!;
  const other = cache.open([2], 2 * cellStep)!;
  write(tensors, run, range(9));
  assert.equal(cache.grow(run, 2 * cellStep), false);
  assert.deepEqual([run.first, run.capacity], [0, cellStep]);
  checkContents(tensors, run);
  assert.equal(cache.open([5], 1), undefined);
  cache.close(other);
  assert.ok(cache.grow(run, 3 * cellStep));
  checkContents(tensors, run);
});

test("of runs that begin alike to their end, only the longest is kept", () => {
  const kv = newCache(4);
  for (let time = 0; time < 3; time++) serve(kv, range(20));
  assert.equal(kv.cache.keptRuns, 1, "the same prompt again and again");
  const [short, long] = [range(5), range(30)].map((tokens) => {
    const run = kv.cache.open([9999], 1)!;
    write(kv.tensors, run, tokens);
    return run;
  });
  kv.cache.close(long!);
  assert.equal(kv.cache.keptRuns, 1);
  kv.cache.close(short!);
  assert.equal(kv.cache.keptRuns, 1);
  const run = kv.cache.open([...range(30), 1], 31)!;
  assert.equal(run.tokens.length, 30);
  assert.equal(kv.cache.available, 3 * cellStep);
});

test("clear forgets what is kept", () => {
  const kv = newCache(3);
  serve(kv, range(5));
  serve(kv, range(5, 100));
  kv.cache.clear();
  assert.equal(kv.cache.keptRuns, 0);
  assert.equal(kv.cache.available, kv.cache.total);
  assert.equal(kv.cache.open(range(6), 6)!.tokens.length, 0);
});

const operation = fc.oneof(
  fc.record({
    kind: fc.constant("open" as const),
    prefix: fc.nat(),
    shared: fc.nat({ max: 600 }),
    fresh: fc.integer({ min: 1, max: 400 }),
  }),
  fc.record({
    kind: fc.constant("write" as const),
    which: fc.nat(),
    count: fc.integer({ min: 1, max: 300 }),
  }),
  fc.record({ kind: fc.constant("close" as const), which: fc.nat() }),
  fc.record({ kind: fc.constant("clear" as const) }),
);

test("whatever is opened, grown and closed: cells are nobody else's and hold what was written", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const { cache, tensors } = newCache(7);
      const live: KvRun[] = [];
      const past: number[][] = [[]];
      let next = 0;
      const fresh = (count: number) => {
        next += 1000;
        return range(count, next).map((token) => token % 30_000);
      };
      try {
        for (const step of operations) {
          if (step.kind === "clear") cache.clear();
          if (step.kind === "open") {
            const known = past[step.prefix % past.length]!.slice(0, step.shared);
            const prompt = [...known, ...fresh(step.fresh)];
            const run = cache.open(prompt, prompt.length);
            if (!run) continue;
            assert.deepEqual(run.tokens, prompt.slice(0, run.tokens.length));
            assert.ok(run.tokens.length < prompt.length && run.capacity >= prompt.length);
            checkContents(tensors, run);
            write(tensors, run, prompt.slice(run.tokens.length, run.tokens.length + 150));
            live.push(run);
          }
          if ((step.kind === "write" || step.kind === "close") && live.length > 0) {
            const run = live[step.which % live.length]!;
            if (step.kind === "close") {
              live.splice(live.indexOf(run), 1);
              past.push(run.tokens);
              cache.close(run);
            } else if (cache.grow(run, run.tokens.length + step.count)) {
              write(tensors, run, fresh(step.count));
            }
          }
          const byFirst = [...live].sort((a, b) => a.first - b.first);
          byFirst.forEach((run, index) => {
            checkContents(tensors, run);
            const end = byFirst[index + 1]?.first ?? cache.total;
            assert.ok(run.first >= 0 && run.first + run.capacity <= end, "runs do not overlap");
          });
          const held = live.reduce((sum, { capacity }) => sum + capacity, 0);
          assert.equal(cache.available, cache.total - held);
        }
      } finally {
        allTensors.pop()!.dispose();
      }
    }),
    { numRuns: 150, seed: 5 },
  );
});
