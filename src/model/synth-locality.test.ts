import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { loadForTest } from "../../test/forward.ts";
import { hasCode } from "../../test/has-code.ts";
import { dispersionOf, routingOf } from "../../test/routing.ts";
import { chanceRouting, segmentRouting } from "../experts/locality.ts";
import { openGguf } from "../gguf/read.ts";
import { writeSyntheticModel } from "./synth.ts";
import type { Locality } from "./synth-locality.ts";
import { topicalTokens, topicsOf } from "./topics.ts";

const shape = {
  architecture: "olmoe",
  layers: 4,
  width: 256,
  heads: 4,
  kvHeads: 4,
  headWidth: 64,
  experts: 64,
  expertsUsed: 8,
  expertWidth: 32,
  vocabulary: 4000,
  context: 2048,
  ropeBase: 10_000,
  normEpsilon: 1e-5,
  type: "Q8_0",
  seed: 11,
} as const;
/** Enough runs of topics that SRP(16) differs by a point or so from one text to the next. */
const textTokens = 2048;

describe("writeSyntheticModel with a locality", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-locality-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const write = async (locality: Locality, change: Partial<typeof shape> = {}) => {
    const path = join(folder, "model.gguf");
    await writeSyntheticModel(path, { ...shape, ...change, locality });
    return path;
  };

  /** What the engine's forward pass does with text that the file itself describes. */
  const measure = async (path: string) => {
    const topics = topicsOf((await openGguf(path)).metadata)!;
    const text = topicalTokens(shape.seed + 1, textTokens, topics);
    const model = await loadForTest(path, text.length);
    const routing = await routingOf(model.runtime, text);
    const logits = await model.logits(text.slice(0, 64));
    model.dispose();
    assert.ok(logits.every((row) => row.every(Number.isFinite)));
    return routing;
  };

  for (const target of [0.4, 0.51, 0.6]) {
    it(`${target * 100} %: the routing has that SRP(16) within 3 points, in every layer within 6`, async () => {
      const { trace, lookAhead } = await measure(await write(target));
      const { model, layers } = segmentRouting([trace], 16);
      assert.ok(Math.abs(model.performance - target) < 0.03, `SRP(16) is ${model.performance}`);
      for (const { performance } of layers) assert.ok(Math.abs(performance - target) < 0.06);
      for (const agreement of lookAhead) assert.ok(agreement > 0.8, `the look ahead finds ${agreement}`);
    });
  }

  it("uniform: SRP(16) is that of independent choices, and all experts are used about equally", async () => {
    const { trace } = await measure(await write("uniform"));
    const { performance } = segmentRouting([trace], 16).model;
    const independent = chanceRouting(16, trace.used / trace.experts);
    assert.ok(Math.abs(performance - independent) < 0.01, `${performance}, not ${independent}`);
    // Relative to what chance alone gives, which is 1. Routers' rows differ in length by 4 % at this width, which makes their
    // experts' uses differ by 8 %: 3 for 2048 tokens.
    const dispersion = dispersionOf(trace);
    assert.ok(dispersion < 4.5, `uses are dispersed ${dispersion} times as much as by chance`);
  });

  it("tells in the file what it was made for", async () => {
    const path = await write(0.45);
    const { metadata } = await openGguf(path);
    assert.deepEqual(topicsOf(metadata), { vocabulary: 4000, topics: 64, meanRun: 64 });
    assert.equal(metadata.string("stowage.synth.locality"), "45%");
    assert.equal(metadata.number("stowage.synth.seed"), 11);
    const share = metadata.number("stowage.synth.topic_share");
    assert.ok(share > 0.1 && share < 0.6, `${share}`);
  });

  it("equal seeds give equal files", async () => {
    const digest = async (seed: number) => {
      const path = await write(0.5, { seed: seed as typeof shape.seed });
      return createHash("sha256").update(readFileSync(path)).digest("hex");
    };
    assert.equal(await digest(1), await digest(1));
    assert.notEqual(await digest(1), await digest(2));
  });

  it("refuses what no weights give", async () => {
    const limit = (field: RegExp) => (error: unknown) =>
      hasCode("synth_invalid")(error) && field.test((error as Error).message);
    await assert.rejects(
      write(0.2),
      limit(/locality is 20%; .* from 3\d(\.\d)?% to \d+(\.\d)?% for 8 of 64/),
    );
    await assert.rejects(write(1), limit(/locality is 100%/));
    await assert.rejects(write(Number.NaN), limit(/locality is NaN%/));
    const dense = { ...shape, architecture: "qwen3", experts: 0, expertsUsed: 0, feedForwardWidth: 256 };
    await assert.rejects(
      writeSyntheticModel(join(folder, "dense.gguf"), { ...dense, locality: "uniform" }),
      limit(/the model has no experts/),
    );
  });
});
