import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type RoutingTrace, segmentCacheHits, segmentRouting } from "./locality.ts";

/** One layer; a row of expert ids for each token. */
function traceOf(experts: number, rows: readonly (readonly number[])[]): RoutingTrace {
  const chosen = Uint16Array.from(rows.flat());
  return { tokens: rows.length, layers: 1, experts, used: rows[0]!.length, chosen };
}

/** Sequences of one model, one of them as long as a segment at least. */
const several: fc.Arbitrary<RoutingTrace[]> = fc
  .record({
    lengths: fc.array(fc.integer({ min: 1, max: 16 }), { maxLength: 2 }),
    longest: fc.integer({ min: 4, max: 24 }),
    layers: fc.integer({ min: 1, max: 3 }),
    experts: fc.integer({ min: 3, max: 8 }),
    used: fc.integer({ min: 1, max: 3 }),
  })
  .chain(({ lengths, longest, ...shape }) => {
    const ids = Array.from({ length: shape.experts }, (_, expert) => expert);
    const choice = fc.shuffledSubarray(ids, { minLength: shape.used, maxLength: shape.used });
    const sequence = (tokens: number) => {
      const count = tokens * shape.layers;
      const choices = fc.array(choice, { minLength: count, maxLength: count });
      return choices.map((rows) => ({ ...shape, tokens, chosen: Uint16Array.from(rows.flat()) }));
    };
    return fc.tuple(...[...lengths, longest].map(sequence));
  });
const segments = fc.integer({ min: 1, max: 4 });

describe("segmentRouting", () => {
  it("of four tokens, worked by hand", () => {
    // Windows of two: {0: 2, 1: 1, 2: 1}, {0: 2, 2: 1, 3: 1}, {0: 1, 1: 1, 2: 1, 3: 1}; A = 12.
    // f >= 1: M = 12, P = 2 * 10 = 20, F1 = 24 / 32. f >= 2: M = 4, P = 4, F1 = 8 / 16.
    const trace = traceOf(4, [
      [0, 1],
      [0, 2],
      [3, 0],
      [1, 2],
    ]);
    const expected = { performance: 24 / 32, sizeRatio: 20 / 12 };
    assert.deepEqual(segmentRouting([trace], 2), { layers: [expected], model: expected });
  });

  it("is 1, with as many experts as a token uses, when all tokens choose alike", () => {
    const rows = Array.from({ length: 40 }, () => [5, 2, 7]);
    assert.deepEqual(segmentRouting([traceOf(8, rows)], 16).model, { performance: 1, sizeRatio: 1 });
  });

  it("is what the definition says, window by window and expert by expert", () => {
    fc.assert(
      fc.property(several, segments, (traces, segment) => {
        const layers = Array.from({ length: traces[0]!.layers }, (_, layer) => layer);
        const found = segmentRouting(traces, segment);
        for (const layer of layers) near(found.layers[layer]!.performance, srp(traces, segment, [layer]));
        near(found.model.performance, srp(traces, segment, layers));
      }),
    );
  });
});

describe("segmentCacheHits", () => {
  it("of six tokens, worked by hand", () => {
    // Two experts a cache, two tokens of foresight. 0 and 1 are first uses with room. At 2, expert 0 comes in the next
    // token and 1 does not: 1 goes. 0 hits. At 1, 0 comes next and 2 does not: 2 goes. 0 hits.
    const trace = traceOf(3, [[0], [1], [2], [0], [1], [0]]);
    assert.equal(segmentCacheHits([trace], 2, 2).model, 4 / 6);
    // Room for all: first uses are hits.
    assert.equal(segmentCacheHits([trace], 2, 3).model, 1);
  });

  it("is what the definition says, counted anew at every eviction", () => {
    fc.assert(
      fc.property(several, segments, fc.integer({ min: 1, max: 8 }), (traces, segment, capacity) => {
        const found = segmentCacheHits(traces, segment, capacity);
        const uses = sumOf(traces.map(({ tokens, used }) => tokens * used));
        const hits = found.layers.map((_, layer) =>
          sumOf(traces.map((trace) => cacheHits(trace, layer, segment, capacity))),
        );
        found.layers.forEach((rate, layer) => {
          near(rate, hits[layer]! / uses);
        });
        near(found.model, sumOf(hits) / (uses * hits.length));
      }),
    );
  });

  it("never falls with a larger cache", () => {
    fc.assert(
      fc.property(several, segments, fc.integer({ min: 1, max: 7 }), (traces, segment, capacity) => {
        const rate = (experts: number) => segmentCacheHits(traces, segment, experts).model;
        assert.ok(rate(capacity) <= rate(capacity + 1));
      }),
    );
  });
});

function near(found: number, expected: number): void {
  assert.ok(Math.abs(found - expected) < 1e-12, `${found}, not ${expected}`);
}

function rowOf({ layers, used, chosen }: RoutingTrace, token: number, layer: number): number[] {
  return Array.from({ length: used }, (_, place) => chosen[(token * layers + layer) * used + place]!);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** SRP of some layers together. */
function srp(traces: readonly RoutingTrace[], segment: number, layers: readonly number[]): number {
  const uses: number[] = [];
  for (const trace of traces) {
    for (const layer of layers) {
      for (let start = 0; start + segment <= trace.tokens; start++) {
        const window = Array.from({ length: segment }, (_, index) => rowOf(trace, start + index, layer));
        for (let expert = 0; expert < trace.experts; expert++) {
          uses.push(window.filter((row) => row.includes(expert)).length);
        }
      }
    }
  }
  const all = sumOf(uses);
  const scores = Array.from({ length: segment }, (_, index) => {
    const predicted = uses.filter((use) => use >= index + 1);
    const right = sumOf(predicted);
    return (2 * right) / (predicted.length * segment + all);
  });
  return Math.max(...scores);
}

/** Hits in one layer, with a list in the order of use as the cache, the least recent first. */
function cacheHits(trace: RoutingTrace, layer: number, segment: number, capacity: number): number {
  let cache: number[] = [];
  const seen = new Set<number>();
  let hits = 0;
  for (let token = 0; token < trace.tokens; token++) {
    const row = rowOf(trace, token, layer);
    const before = [...cache];
    row.forEach((expert) => {
      if (before.includes(expert) || (!seen.has(expert) && seen.size < capacity)) hits++;
      seen.add(expert);
    });
    row.forEach((expert, place) => {
      if (!cache.includes(expert) && cache.length === capacity) {
        const coming = cache.map((held) => {
          let count = row.slice(place).includes(held) ? 1 : 0;
          for (let next = token + 1; next < Math.min(token + segment, trace.tokens); next++) {
            if (rowOf(trace, next, layer).includes(held)) count++;
          }
          return count;
        });
        cache.splice(coming.indexOf(Math.min(...coming)), 1);
      }
      cache = [...cache.filter((held) => held !== expert), expert];
    });
  }
  return hits;
}
