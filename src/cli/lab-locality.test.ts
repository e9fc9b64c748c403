import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { stowage } from "../../test/stowage.ts";

const folder = mkdtempSync(join(tmpdir(), "stowage-lab-"));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

/** Routing of one layer as JSON lines: `choice` says the experts of a token. */
function trace(name: string, tokens: number, choice: (token: number) => number[]): string {
  const line = (token_idx: number) => JSON.stringify({ token_idx, layer: 0, topk_ids: choice(token_idx) });
  writeFileSync(at(name), Array.from({ length: tokens }, (_, token) => line(token)).join("\n"));
  return at(name);
}

describe("stowage lab locality", () => {
  it("of a trace whose tokens choose alike finds all of it local", () => {
    // Token 40 shows that there is an expert 7.
    const path = trace("alike", 40, (token) => (token === 39 ? [6, 7] : [2, 5]));
    const { stdout, status } = stowage(["lab", "locality", path, "--json", "--html", at("page.html")]);
    assert.equal(status, 0);
    const { settings, results, notes } = JSON.parse(stdout);
    assert.deepEqual([settings.layers, settings.experts, settings.used, settings.tokens], [1, 8, 2, 40]);
    assert.ok(results[0].srp_percent > 95);
    // 6 and 7 are first uses when two others have been seen: misses of 80 uses.
    assert.equal(results[0].sch_1x_percent, 97.5);
    assert.match(notes[1], /suits this model well/);
    assert.match(readFileSync(at("page.html"), "utf8"), /suits this model well[\s\S]*<svg/);
  });

  it("of a trace without any order says that no policy helps", () => {
    let state = 7;
    const draw = () => {
      state = (state * 48_271) % 2_147_483_647;
      return state % 16;
    };
    const path = trace("random", 600, () => {
      const first = draw();
      return [first, (first + 1 + (draw() % 15)) % 16];
    });
    const { stdout, status } = stowage(["lab", "locality", path]);
    assert.equal(status, 0);
    assert.match(stdout, /near random/);
  });

  it("needs a sequence as long as a segment, and a file that is one", () => {
    const short = stowage(["lab", "locality", trace("short", 3, () => [0])]);
    assert.equal(short.status, 2);
    assert.match(short.stderr, /tokens is 3; a sequence of at least 16 tokens/);
    const none = stowage(["lab", "locality", at("none")]);
    assert.match(none.stderr, /cannot be read: ENOENT/);
    assert.match(stowage(["lab", "locality", folder]).stderr, /cannot be read: EISDIR/);
  });

  it("runs a model on prompts of a file", { skip: withoutSample }, () => {
    writeFileSync(
      at("prompts.jsonl"),
      '{"turns": ["Tell a story.", "Go on."]}\n{"question": "What is 2 + 3?"}\n',
    );
    const flags = ["--prompts", at("prompts.jsonl"), "--answer-tokens", "24", "--threads", "1", "--json"];
    const { stdout, status } = stowage(["lab", "locality", samplePath, ...flags]);
    assert.equal(status, 0);
    const { settings, results } = JSON.parse(stdout);
    assert.deepEqual([settings.layers, settings.experts, settings.used, settings.sequences], [6, 32, 4, 2]);
    assert.equal(results.length, 7);
    assert.ok(results[0].srp_percent > 33 && results[0].srp_percent < 70, `${results[0].srp_percent}`);
  });

  it("tells what is wrong with a file of prompts", { skip: withoutSample }, () => {
    writeFileSync(at("bad.jsonl"), '{"prompt": "fine"}\n{"other": 1}\n');
    const { stderr, status } = stowage(["lab", "locality", samplePath, "--prompts", at("bad.jsonl")]);
    assert.equal(status, 2);
    assert.match(stderr, /line 2 has no prompt/);
  });
});
