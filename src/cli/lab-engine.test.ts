import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { stowage } from "../../test/stowage.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { checksOf, type Measurement, rowsOf } from "./lab-engine-report.ts";

const flags = ["--expert-memory", "50%", "--rounds", "1", "--threads", "1", "--json"];

/** Decode steps that took so long each, ms. */
function measured(policy: Measurement["policy"], round: number, ms: number, best = [1, 2]): Measurement {
  const experts = {
    bytes: 4e6,
    demandBytes: 3e6,
    demandMs: 3,
    stallMs: 4,
    readMs: 5,
    readMsSum: 9,
    computeMs: 7,
  };
  const decisions = { asked: 40, hits: 30, decidedMs: 1, besideMs: 3 };
  const decode = { milliseconds: [ms, ms], diskBytes: 0, experts, decisions };
  return { policy, round, samples: [{ prefill: { milliseconds: [1], diskBytes: 0 }, decode, best }] };
}

describe("stowage lab engine", () => {
  const folder = mkdtempSync(join(tmpdir(), "stowage-lab-engine-"));
  const path = join(folder, "local.gguf");
  before(() =>
    writeSyntheticModel(path, {
      architecture: "olmoe",
      layers: 3,
      width: 64,
      heads: 2,
      kvHeads: 2,
      headWidth: 32,
      experts: 16,
      expertsUsed: 4,
      expertWidth: 32,
      vocabulary: 1000,
      context: 512,
      ropeBase: 10_000,
      normEpsilon: 1e-5,
      type: "Q8_0",
      seed: 3,
      locality: 0.6,
    }),
  );
  after(() => rmSync(folder, { recursive: true }));

  it("runs policies on the same text, one row each, and their tokens are the same", () => {
    const page = join(folder, "page.html");
    const chosen = ["--policies", "lru,composite", "--settling", "30", "--steps", "8", "--html", page];
    const { stdout, stderr, status } = stowage(["lab", "engine", path, ...flags, ...chosen]);
    assert.ok(status === 0 || status === 1, stderr);
    const { settings, results, checks } = JSON.parse(stdout);
    assert.equal(settings.tokens, "text of 64 topics");
    assert.deepEqual(results.map(({ policy }: { policy: string }) => policy).sort(), ["composite", "lru"]);
    for (const row of results) {
      assert.ok(row.tokens_per_s > 0 && row.read_mb_per_token > 0, JSON.stringify(row));
      assert.ok(row.hit_percent > 0 && row.hit_percent < 100, JSON.stringify(row));
    }
    const composite = results.find(({ policy }: { policy: string }) => policy === "composite");
    assert.match(composite.says, /evicts by .* reads ahead by/);
    const names = checks.map(({ name }: { name: string }) => name);
    assert.deepEqual(names, ["default_over_best", "bit_equal"]);
    assert.equal(checks[1].ok, true);
    assert.match(readFileSync(page, "utf8"), /Speed of decoding[\s\S]*<svg/);
  });

  it("gives another model its own answers", { skip: withoutSample }, () => {
    const chosen = ["--policies", "lfru", "--settling", "50", "--steps", "20"];
    const { stdout, stderr, status } = stowage(["lab", "engine", samplePath, ...flags, ...chosen]);
    assert.equal(status, 0, stderr);
    const { settings, results } = JSON.parse(stdout);
    assert.equal(settings.tokens, "answers to our own prompts");
    assert.equal(results.length, 1);
  });

  it("refuses what it cannot measure", () => {
    const unknown = stowage(["lab", "engine", path, "--policies", "lru,mru"]);
    assert.match(unknown.stderr, /mru is none of lru/);
    const all = stowage(["lab", "engine", path, "--expert-memory", "100%"]);
    assert.equal(all.status, 2);
    assert.match(all.stderr, /all of them fit/);
    assert.match(stowage(["lab", "engine", path]).stderr, /no expert finds room/);
  });
});

describe("the table of policies", () => {
  const rounds = [
    measured("lru", 1, 10),
    measured("composite", 1, 8),
    measured("lru", 2, 20),
    measured("composite", 2, 16),
  ];

  it("has medians a token, the fastest policy first", () => {
    const [first, second] = rowsOf(["lru", "composite"], rounds);
    assert.deepEqual([first!.policy, second!.policy], ["composite", "lru"]);
    assert.deepEqual([second!.tokens_per_s, second!.hit_percent, second!.stall_ms_per_token], [75, 75, 2]);
    assert.deepEqual([second!.policy_ms_waited_for, second!.policy_ms_beside], [0.5, 1.5]);
  });

  it("compares the default within rounds, so that a slow round weighs on all alike", () => {
    const [over, equal] = checksOf(["lru", "composite"], rounds);
    assert.deepEqual([over!.value, over!.goal, over!.ok], [1.25, ">= 0.97", true]);
    assert.equal(equal!.ok, true);
  });

  it("takes as noise what ratios of two policies differ by between rounds", () => {
    const uneven = [...rounds.slice(0, 2), measured("lru", 2, 20), measured("composite", 2, 17)];
    const [over] = checksOf(["lru", "composite"], uneven);
    // Ratios 1.25 and 1.176: 3 % from their median.
    assert.deepEqual([over!.value, over!.goal], [1.213, ">= 0.939"]);
  });

  it("tells of a policy under which tokens differ", () => {
    const [, equal] = checksOf(["lru", "composite"], [...rounds, measured("lru", 3, 10, [1, 3])]);
    assert.equal(equal!.ok, false);
  });
});
