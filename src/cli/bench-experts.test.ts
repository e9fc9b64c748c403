import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { StowageError } from "../errors.ts";
import { findGroupRoot, MemoryGroup } from "../workload/memory-group.ts";
import { llamaSide } from "../workload/side.ts";
import { demandRate, overBound, rowsOf, sampleOf, speedup } from "./bench-experts-metrics.ts";
import { type Contender, type Run, runLimited, type Work } from "./bench-experts-run.ts";
import { type ExpertsModel, expertBudget, planExperts, processBytes } from "./expert-budget.ts";

const mebi = 2 ** 20;
const withoutGroups = await MemoryGroup.create(256 * mebi).then(
  async (group) => {
    await group.remove();
    return false as const;
  },
  (error: Error) => error.message,
);

const work: Work = { shortPrompt: 32, settling: 1, steps: 2, longPrompt: 40, answer: 20 };
const steps = (...milliseconds: number[]) => ({ milliseconds, diskBytes: 1000 * milliseconds.length });
const contender: Contender = {
  side: "llama.cpp",
  setting: "as it is",
  script: llamaSide,
  options: {
    modelPath: samplePath,
    threads: availableParallelism(),
    contextTokens: 512,
    sequences: 1,
    mmap: true,
    repack: false,
  },
};
const usage = { peakBytes: 9e6, currentBytes: 8e6, anonymousBytes: 3e6, cacheBytes: 5e6, kills: 0 };

describe("metrics of a run", () => {
  const twenty = Array.from({ length: 20 }, (_, index) => (index < 16 ? 10 : 1));
  const run: Run = {
    contender,
    short: { prefill: steps(64), decode: steps(100, 20, 30), best: [] },
    long: { prefill: steps(400), decode: steps(...twenty), best: [] },
    usage,
  };
  const experts = {
    bytes: 6e6,
    demandBytes: 3e6,
    demandMs: 30,
    stallMs: 20,
    readMs: 40,
    readMsSum: 80,
    computeMs: 250,
  };

  it("decoding is measured after it has settled, and right after a long prompt", () => {
    assert.deepEqual(sampleOf(run, "decode", work), {
      tokens: 2,
      milliseconds: 50,
      diskBytes: 2000,
      raw: [20, 30],
    });
    assert.equal(sampleOf(run, "decode_after_prefill", work)?.milliseconds, 160);
    assert.equal(sampleOf(run, "prefill_32", work)?.milliseconds, 64);
    assert.equal(sampleOf(run, "prefill_512", work)?.tokens, 40);
    assert.equal(sampleOf(run, "chat", work)?.milliseconds, 400 + 164);
  });

  it("a run that ended early lacks what it did not get to", () => {
    const ended: Run = { contender, usage: { ...usage, kills: 1 }, failure: "ended by the memory limit" };
    assert.equal(sampleOf(ended, "chat", work), undefined);
    assert.ok(Number.isNaN(speedup(sampleOf(run, "chat", work), undefined)));
    const rows = rowsOf(ended, "uniform", 1, work);
    assert.deepEqual(
      rows.map(({ metric, outcome }) => [metric, outcome]),
      [["memory", "ended by the memory limit"]],
    );
    assert.equal(rowsOf(run, "uniform", 1, work).length, 6);
  });

  it("the disk: what a step waited for, over the time in which it did", () => {
    assert.ok(Number.isNaN(demandRate(run)));
    const reading: Run = {
      ...run,
      short: { ...run.short!, decode: { ...steps(1, 2, 3), experts } },
      long: { ...run.long!, prefill: { ...steps(400), experts: { ...experts, demandMs: 70 } } },
    };
    assert.equal(demandRate(reading), 6e6 / 0.1);
    // 6 MB at 20 MB/s are 300 ms, more than computing.
    assert.equal(overBound(reading, 20e6), 400 / 300);
    assert.equal(overBound(reading, 60e6), 400 / 250);
  });
});

describe("what a limit leaves for experts", { skip: withoutSample }, () => {
  const refused = (pattern: RegExp) => (error: unknown) => {
    assert.ok(error instanceof StowageError && error.code === "bench_experts", String(error));
    assert.match(error.message, pattern);
    return true;
  };

  it("all but the process, the other weights, the KV cache and working memory", async () => {
    const model = await planExperts(samplePath, 2, 1024);
    assert.equal(model.contextTokens, 512);
    assert.equal(model.expertBytes, 6 * 32 * model.recordBytes);
    assert.ok(model.expertBytes < model.fileBytes && model.otherBytes > model.fileBytes - model.expertBytes);
    const rest = processBytes + model.otherBytes;
    assert.equal(expertBudget(model, rest + 10 * mebi), 10 * mebi);
    assert.equal(expertBudget(model, 4096 * mebi), model.expertBytes);
    assert.throws(() => expertBudget(model, rest + 1000), refused(/no expert finds room/));
  });
});

describe("a side under a limit", { skip: withoutGroups || withoutSample }, () => {
  let model: ExpertsModel;
  const left = () =>
    readdirSync(findGroupRoot().path).filter((name) => name.startsWith(`stowage-${process.pid}-`));

  it("does the work, from cold caches on", async () => {
    model = await planExperts(samplePath, 2, 512);
    const run = await runLimited(contender, model, 400 * mebi, work, 1);
    assert.equal(run.failure, undefined);
    assert.equal(run.short?.decode.milliseconds.length, work.settling + work.steps);
    assert.equal(run.long?.decode.milliseconds.length, work.answer);
    assert.ok(run.usage.cacheBytes > 20 * mebi, "the model's pages count");
    assert.deepEqual(left(), []);
  });

  it("is ended by a limit that is too small, which is a result", async () => {
    const { failure, long, usage } = await runLimited(contender, model, 24 * mebi, work, 1);
    assert.equal(failure, "ended by the memory limit");
    assert.equal(long, undefined);
    assert.ok(usage.kills > 0);
    assert.deepEqual(left(), []);
  });

  it("leaves nothing behind when it fails by itself", async () => {
    const options = { ...contender.options, modelPath: join(samplePath, "none") };
    await assert.rejects(
      runLimited({ ...contender, options }, model, 400 * mebi, work, 1),
      /could not be loaded/,
    );
    assert.deepEqual(left(), []);
  });
});

it("stowage bench experts exits with 2 when it cannot measure", { skip: withoutSample }, () => {
  const program = join(import.meta.dirname, "../../bin/stowage");
  assert.ok(existsSync(program));
  const { status, stderr } = spawnSync(
    process.execPath,
    [program, "bench", "experts", "--model", samplePath, "--memory", "60%"],
    { encoding: "utf8" },
  );
  assert.equal(status, 2);
  assert.match(stderr, /error: The experts of .* cannot be measured: .*no expert finds room/);
});
