import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { stowage } from "../../test/stowage.ts";
import { policyNames } from "../experts/policies/policies.ts";
import { writeSyntheticModel } from "../model/synth.ts";

const folder = mkdtempSync(join(tmpdir(), "stowage-lab-"));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

function prompts(count: number): string {
  const path = at(`${count}.jsonl`);
  const texts = Array.from({ length: count }, (_, index) => `What is ${index} times ${index + 3}, and why?`);
  writeFileSync(path, texts.map((prompt) => JSON.stringify({ prompt })).join("\n"));
  return path;
}

const lab = (...args: string[]) => stowage(["lab", "experts", "--model", samplePath, ...args]);

describe("stowage lab experts", { skip: withoutSample }, () => {
  it("scores every policy between the bounds, and sets the engine beside the replay", () => {
    const args = ["--prompts", prompts(6), "--answer-tokens", "12", "--rounds", "1", "--memory", "40%"];
    const { stdout, stderr } = lab(...args, "--json", "--html", at("page.html"));
    assert.notEqual(stdout, "", stderr);
    const { settings, results, checks, notes } = JSON.parse(stdout);
    assert.deepEqual([settings.requests, settings.memory], [6, "40%"]);
    assert.ok(settings.layer_ms > 0 && settings.read_ms + settings.read_latency_ms > 0);
    type Row = { policy: string; reads_ahead: boolean; misses_a_token: number; stall_ms_a_token: number };
    const rows = results as Row[];
    const row = (policy: string) => rows.find((one) => one.policy === policy)!;
    for (const name of policyNames) {
      const mine = rows.filter(({ policy }) => policy === name);
      assert.ok(mine.length > 0, name);
      for (const one of mine.filter(({ reads_ahead }) => !reads_ahead)) {
        assert.ok(one.misses_a_token >= row("belady").misses_a_token, name);
      }
    }
    assert.ok(row("lru on the engine").stall_ms_a_token > 0);
    const names = (checks as { name: string }[]).map(({ name }) => name);
    for (const name of ["eviction_gap", "stall", "bytes", "to_oracle", "replay_error", "overhead"]) {
      assert.ok(names.includes(name), name);
    }
    assert.match(notes[0], /^At 40 % of the experts, steps wait least under/);
    assert.match(readFileSync(at("page.html"), "utf8"), /Waiting for experts[\s\S]*<svg/);
  });

  it("says what it cannot do", async () => {
    const few = lab("--prompts", prompts(1), "--answer-tokens", "4", "--rounds", "1");
    assert.equal(few.status, 2);
    assert.match(few.stderr, /are scored on the other half: 1 are too few/);
    const all = lab("--memory", "100%");
    assert.match(all.stderr, /all experts fit into 100%/);
    const trace = at("trace.jsonl");
    writeFileSync(trace, JSON.stringify({ token_idx: 0, layer: 0, topk_ids: [1, 2] }));
    assert.match(
      lab("--trace", trace).stderr,
      /shape is 1 layers of 3 experts, 2 a token; the model has 6 layers/,
    );
    const dense = at("dense.gguf");
    await writeSyntheticModel(dense, {
      ...{
        architecture: "llama",
        layers: 1,
        width: 64,
        heads: 2,
        kvHeads: 2,
        headWidth: 32,
        experts: 0,
        expertsUsed: 0,
      },
      ...{
        expertWidth: 64,
        vocabulary: 512,
        feedForwardWidth: 64,
        context: 64,
        ropeBase: 10_000,
        normEpsilon: 1e-5,
        type: "F16",
        seed: 1,
      },
    });
    assert.match(stowage(["lab", "experts", "--model", dense]).stderr, /or it has none/);
  });
});
