import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { hasCode } from "../../../test/has-code.ts";
import { chunkBytes, recordLayout } from "./format.ts";
import { readRoutingTrace } from "./reader.ts";
import { probabilities, type RoutingSource, tracesOf } from "./routing-log.ts";
import { RoutingTraceWriter, type TokenRouting, type TokenToRecord } from "./writer.ts";

const folder = mkdtempSync(join(tmpdir(), "stowage-trace-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "a.routing");
const small: RoutingSource = { model: "a model", layers: 3, experts: 5, used: 2 };

interface Recorded extends TokenToRecord, TokenRouting {}

function tokenOf({ layers, experts, used }: RoutingSource, seed: number): Recorded {
  const value = (n: number) => Math.sin(seed * 37 + n) * 6;
  const logits = Array.from({ length: layers }, (_, layer) =>
    Float32Array.from({ length: experts }, (_, expert) => value(layer * experts + expert)),
  );
  const chosen = logits.map((row) =>
    Int32Array.from([...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, used)),
  );
  return {
    request: seed % 3,
    position: seed,
    token: seed * 7 - 3,
    step: seed >> 1,
    decoded: seed % 2 === 1,
    logits,
    chosen,
    guessed: chosen.toReversed(),
    early: chosen.toReversed(),
  };
}

async function write(source: RoutingSource, tokens: readonly Recorded[]): Promise<RoutingTraceWriter> {
  const writer = await RoutingTraceWriter.create(path, source);
  for (const token of tokens) {
    writer.add(token, token);
    await writer.ready();
  }
  await writer.close();
  return writer;
}

describe("a routing trace of our own", () => {
  it("gives back what was recorded, of any shape", async () => {
    const shapes = fc.record({
      layers: fc.integer({ min: 1, max: 4 }),
      experts: fc.integer({ min: 2, max: 9 }),
      used: fc.integer({ min: 1, max: 2 }),
      count: fc.integer({ min: 0, max: 20 }),
    });
    await fc.assert(
      fc.asyncProperty(shapes, async ({ count, ...shape }) => {
        const tokens = Array.from({ length: count }, (_, seed) => tokenOf({ model: "m", ...shape }, seed));
        await write({ model: "m", ...shape }, tokens);
        const log = await readRoutingTrace(path);
        assert.equal(log.count, count);
        tokens.forEach((token, index) => {
          assert.equal(log.request[index], token.request);
          assert.equal(log.position[index], token.position);
          assert.equal(log.token[index], token.token);
          assert.equal(log.step[index], token.step);
          assert.equal(log.decoded[index], token.decoded ? 1 : 0);
          const width = shape.layers * shape.used;
          assert.deepEqual(
            [...log.chosen.subarray(index * width, (index + 1) * width)],
            token.chosen.flatMap((row) => [...row]),
          );
        });
      }),
      { numRuns: 40 },
    );
  });

  it("keeps probabilities to 3 %", async () => {
    const token = tokenOf(small, 5);
    await write(small, [token]);
    const log = await readRoutingTrace(path);
    const found = new Float32Array(small.experts);
    for (let layer = 0; layer < small.layers; layer++) {
      probabilities({ ...log, scores: log.scores! }, 0, layer, found);
      const weights = [...token.logits[layer]!].map(Math.exp);
      const sum = weights.reduce((a, b) => a + b);
      weights.forEach((weight, expert) => {
        const ratio = found[expert]! / (weight / sum);
        assert.ok(ratio > 0.94 && ratio < 1.07, `${ratio} of p in layer ${layer}`);
      });
      assert.equal(log.scores!.peak[layer], Math.max(...token.logits[layer]!));
    }
  });

  it("is parted into requests, each in its own order", async () => {
    const tokens = Array.from({ length: 7 }, (_, seed) => tokenOf(small, seed));
    await write(small, tokens);
    const traces = tracesOf(await readRoutingTrace(path));
    assert.deepEqual(
      traces.map((trace) => trace.tokens),
      [3, 2, 2],
    );
    const expected = [1, 4].flatMap((seed) => tokens[seed]!.chosen.flatMap((row) => [...row]));
    assert.deepEqual([...traces[1]!.chosen], expected);
  });

  it("of many chunks is whole, and without its last one when that is cut off", async () => {
    const wide = { ...small, layers: 48, experts: 128 };
    const perChunk = Math.floor(chunkBytes / recordLayout(wide).bytes);
    const tokens = Array.from({ length: perChunk * 2 + 3 }, (_, seed) => tokenOf(wide, seed % 11));
    const writer = await write(wide, tokens);
    assert.equal(readFileSync(path).length, writer.bytes);
    assert.equal((await readRoutingTrace(path)).count, tokens.length);
    writeFileSync(path, readFileSync(path).subarray(0, -1));
    assert.equal((await readRoutingTrace(path)).count, perChunk * 2);
  });

  it("is refused where it is damaged", async () => {
    const tokens = Array.from({ length: 9 }, (_, seed) => tokenOf(small, seed));
    await write(small, tokens);
    const good = readFileSync(path);
    const headEnd = good.indexOf(10, 20) + 1;
    for (let at = headEnd + 8; at < good.length; at += 3) {
      const bad = Buffer.from(good);
      bad[at]! ^= 0x40;
      writeFileSync(path, bad);
      await assert.rejects(readRoutingTrace(path), hasCode("routing_trace_invalid"));
    }
    for (const head of [
      "{}",
      "[]",
      "not JSON",
      '{"model":"m","layers":1,"experts":2,"used":3}',
      '{"model":"m","layers":1e9,"experts":2,"used":1}',
    ]) {
      writeFileSync(path, `STOWAGE ROUTING 1\n${head}\n`);
      await assert.rejects(readRoutingTrace(path), hasCode("routing_trace_invalid"));
    }
    await assert.rejects(readRoutingTrace(join(folder, "none")), hasCode("routing_trace_read"));
  });

  it("names the file that cannot be written", async () => {
    await assert.rejects(
      RoutingTraceWriter.create(join(folder, "no/such"), small),
      hasCode("routing_trace_write"),
    );
    const full = await RoutingTraceWriter.create("/dev/full", small).catch((error: unknown) => error);
    assert.ok(hasCode("routing_trace_write")(full));
  });
});

describe("JSON lines of public loggers", () => {
  const lines = (rows: readonly object[]) =>
    writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const row = (token_idx: number, layer: number, topk_ids: number[]) => ({
    token_idx,
    layer,
    topk_ids,
    topk_weights: topk_ids.map(() => 0.5),
  });

  it("are requests of tokens; layers without experts are left out", async () => {
    lines([
      row(0, 1, [3, 2]),
      row(0, 2, [0, 1]),
      row(1, 2, [7, 1]),
      row(1, 1, [5, 6]),
      row(0, 1, [1, 2]),
      row(0, 2, [4, 3]),
    ]);
    const log = await readRoutingTrace(path);
    assert.deepEqual([log.layers, log.experts, log.used, log.count], [2, 8, 2, 3]);
    assert.deepEqual([...log.request], [0, 0, 1]);
    assert.deepEqual([...log.chosen], [3, 2, 0, 1, 5, 6, 7, 1, 1, 2, 4, 3]);
    assert.equal(log.scores, undefined);
  });

  for (const [what, rows] of [
    ["nothing", []],
    ["a token without a layer", [row(0, 0, [1]), row(0, 1, [2]), row(1, 0, [1])]],
    ["a token with fewer experts", [row(0, 0, [1, 2]), row(1, 0, [1])]],
    ["an expert twice", [row(0, 0, [1, 1])]],
    ["a negative id", [row(0, 0, [-1])]],
    ["other fields", [{ layer: 0 }]],
  ] as const) {
    it(`with ${what} are refused`, async () => {
      lines(rows);
      await assert.rejects(readRoutingTrace(path), hasCode("routing_trace_invalid"));
    });
  }

  it("that are no JSON are refused with their line", async () => {
    writeFileSync(path, `${JSON.stringify(row(0, 0, [1]))}\nnonsense\n`);
    await assert.rejects(readRoutingTrace(path), /line 2/);
  });
});
