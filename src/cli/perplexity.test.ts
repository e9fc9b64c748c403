import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { samplePath } from "../../test/sample-model.ts";
import { sampleTexts } from "../../test/sample-texts.ts";
import { stowage } from "../../test/stowage.ts";

describe("stowage perplexity", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-perplexity-cli-"));
    writeFileSync(join(folder, "text.txt"), sampleTexts.prose.slice(0, 1500));
    writeFileSync(join(folder, "short.txt"), "Too short.");
  });
  after(() => rmSync(folder, { recursive: true }));

  it("prints the result for people and for programs", () => {
    const args = ["perplexity", samplePath, "text.txt", "--context", "32", "--chunks", "2", "--threads", "1"];
    const people = stowage(args, folder);
    assert.deepEqual([people.status, people.stderr], [0, ""]);
    assert.match(
      people.stdout,
      /^perplexity [\d.]+ ± [\d.]+ \(2 chunks of 32 tokens, 30 tokens scored, [\d.]+ s\)\n$/,
    );
    const { perplexity, seconds, error, ...rest } = JSON.parse(stowage([...args, "--json"], folder).stdout);
    assert.deepEqual(rest, {
      model: samplePath,
      text: "text.txt",
      chunkTokens: 32,
      scoredTokens: 30,
      chunks: 2,
      done: 2,
    });
    assert.ok(perplexity > 1 && error > 0 && seconds > 0);
    assert.ok(people.stdout.startsWith(`perplexity ${perplexity.toFixed(4)} `), people.stdout);
  });

  it("reads token by token: much the same numbers, and a lossy mode is named", () => {
    const low = join(folder, "low.gguf");
    const quantised = stowage(["quantize", samplePath, low, "--type", "q3_k", "--pure"]);
    assert.equal(quantised.status, 0, quantised.stderr);
    const args = ["perplexity", samplePath, "text.txt", "--context", "32", "--chunks", "2", "--json"];
    const measured = (...more: string[]) => JSON.parse(stowage([...args, ...more], folder).stdout);
    const [whole, byToken] = [measured(), measured("--by-token")];
    assert.ok(Math.abs(whole.perplexity - byToken.perplexity) < 0.01 * whole.perplexity);
    const experts = ["--expert-memory", "30%", "--unprepared", "--lossy", "hobbit", "--low-experts", low];
    const { lossy, perplexity } = measured("--by-token", ...experts, "--lossy-full", "1");
    assert.deepEqual(lossy, {
      mode: "hobbit",
      says: "a missing expert is low below 1 of its token's weights, skipped below 0.1",
    });
    assert.notEqual(perplexity, byToken.perplexity);
  });

  const refusals: [string[], RegExp][] = [
    [[samplePath, "none.txt"], /text none\.txt cannot be read/],
    [[samplePath, "short.txt"], /The text has \d+ tokens; one chunk takes \d+/],
    [[samplePath, "text.txt", "--chunks", "0"], /whole number from 1/],
  ];
  for (const [args, message] of refusals) {
    it(`exits with 2 on: ${args.slice(1).join(" ")}`, () => {
      const { status, stdout, stderr } = stowage(["perplexity", ...args], folder);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, message);
    });
  }
});
