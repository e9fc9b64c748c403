import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { tinyExperts } from "../../test/expert-models.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { stowage } from "../../test/stowage.ts";
import { loadEngine } from "../engine/load.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { busyEngineBytes, idleEngineBytes } from "./engine-memory.ts";
import type { Inspection } from "./inspect-model.ts";

const notLinux = process.platform === "linux" ? false : "only Linux tells what a process takes";

describe("stowage inspect", () => {
  let folder: string;
  let tiny: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-inspect-"));
    tiny = join(folder, "tiny.gguf");
    await writeSyntheticModel(tiny, { ...tinyExperts, context: 2048 });
  });
  after(() => rmSync(folder, { recursive: true }));

  function inspected(...args: string[]): Inspection {
    const { stdout, stderr } = stowage(["inspect", tiny, "--json", ...args]);
    assert.equal(stderr, "");
    return JSON.parse(stdout) as Inspection;
  }

  it("tells the very plan by which a model is loaded", async () => {
    const { memory, total, fits } = inspected(
      "--context",
      "700",
      "--max-sequences",
      "3",
      "--expert-memory",
      "70%",
    );
    const { process: own = 0, ...plan } = memory;
    assert.equal(total, plan.total + own);
    assert.ok(fits);
    const sizes = { contextTokens: 700, maxSequences: 3, expertMemory: "70%" } as const;
    const model = await loadEngine(tiny, { ...sizes, threads: 1, prepare: "never" });
    await model.dispose();
    assert.deepEqual(plan, model.plan);
  });

  it("gives advice that holds to the next step", () => {
    const free = inspected("--max-sequences", "4");
    assert.deepEqual(free.advice.experts, "all fit");
    assert.equal(free.advice.longestContext, 2048);
    const own = free.memory.process ?? 0;
    const totalAt = (context: number) =>
      free.byContext.find((entry) => entry.context === context && entry.sequences === 4)!.total - own;
    const between = Math.ceil((totalAt(512) + totalAt(1024)) / 2);
    const { advice } = inspected("--max-sequences", "4", "--memory", `${between}`);
    assert.ok(advice.longestContext >= 512 && advice.longestContext < 1024, `${advice.longestContext}`);

    const memory = free.byExpertMemory.find(({ share }) => share === 0.5)!.total - own;
    const short = inspected("--max-sequences", "4", "--memory", `${memory}`);
    assert.deepEqual([short.fits, short.advice.experts], [false, "some fit"]);
    const fitting = ["--max-sequences", "4", "--memory", `${memory}`, "--expert-memory"];
    const most = short.advice.mostExpertMemory!;
    assert.ok(inspected(...fitting, `${most}`).fits);
    assert.ok(!inspected(...fitting, `${most + 2 ** 16}`).fits);
  });

  it("tells people, marks what does not fit, and exits with 1 then", () => {
    const { status, stdout } = stowage(["inspect", tiny]);
    assert.equal(status, 0);
    assert.match(stdout, /^KV cache, 4096 tokens +[\d.]+ MiB$/m);
    assert.match(stdout, /^It fits: /m);
    const short = stowage(["inspect", tiny, "--memory", "4MiB"]);
    assert.equal(short.status, 1);
    assert.match(short.stdout, /^2048 tokens .*\*$/m);
    assert.match(short.stdout, /^It does not fit: [\d.]+ MiB too much\.$/m);
  });

  it("draws curves over context and over experts, with the line to stay below", () => {
    const page = join(folder, "fit.html");
    stowage(["inspect", tiny, "--memory", "40MiB", "--html", page]);
    const html = readFileSync(page, "utf8");
    assert.equal(html.match(/<figure>/g)?.length, 2);
    assert.match(html, /as --memory says/);
    assert.match(html, /32 sequences/);
  });

  it("refuses sizes that no model can have", () => {
    const { status, stderr } = stowage(["inspect", tiny, "--max-sequences", "0"]);
    assert.notEqual(status, 0);
    assert.match(stderr, /maxSequences/);
  });
});

it("what an engine process took is within 5 % of what was planned", {
  skip: withoutSample || notLinux,
}, async () => {
  const settings = { threads: 1, contextTokens: 256, maxSequences: 4, kvTokens: 1024 };
  const own = (await idleEngineBytes(samplePath, settings))!;
  const { planned, peak } = await busyEngineBytes(samplePath, settings);
  const ratio = (own + planned) / peak;
  assert.ok(ratio > 0.95 && ratio < 1.05, `${own} + ${planned} bytes were planned, ${peak} taken`);
});
