import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { sampleTexts } from "../../test/sample-texts.ts";
import { stowage } from "../../test/stowage.ts";
import { readImatrix } from "../model/imatrix-file.ts";

describe("stowage imatrix", { skip: withoutSample }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-imatrix-cli-"));
    writeFileSync(join(folder, "text.txt"), sampleTexts.prose.slice(0, 1500));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("writes what quantize reads", async () => {
    const args = ["imatrix", samplePath, "text.txt", "--context", "64", "--chunks", "2", "--threads", "1"];
    const { status, stdout } = stowage([...args, "--output", "made.gguf", "--json"], folder);
    assert.equal(status, 0);
    const { perplexity, seconds, unseen, ...made } = JSON.parse(stdout);
    const { entries, ...rest } = await readImatrix(join(folder, "made.gguf"));
    assert.deepEqual(rest, { datasets: ["text.txt"], chunks: 2, chunkTokens: 64 });
    assert.deepEqual(made, { output: "made.gguf", entries: entries.size, chunks: 2, chunkTokens: 64 });
    assert.ok(perplexity > 1 && seconds > 0 && unseen >= 0 && entries.size > 0);
    const flags = ["--type", "q4_0", "--imatrix", "made.gguf", "--threads", "1"];
    const quantized = stowage(["quantize", samplePath, "small.gguf", ...flags], folder);
    assert.deepEqual([quantized.status, quantized.stderr], [0, ""]);
  });

  it("exits with 2 where the text is too short, and writes nothing", () => {
    writeFileSync(join(folder, "short.txt"), "Too short.");
    const { status, stderr } = stowage(["imatrix", samplePath, "short.txt", "--output", "none.gguf"], folder);
    assert.equal(status, 2);
    assert.match(stderr, /The text has \d+ tokens/);
  });
});
