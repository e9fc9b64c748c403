import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { stowage } from "../../test/stowage.ts";
import { gguf } from "../gguf/values.ts";
import { writeGguf } from "../gguf/write.ts";

describe("stowage show", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-show-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("shows the sample model to people", { skip: withoutSample }, () => {
    const bin = join(import.meta.dirname, "../../bin/stowage");
    const { status, stdout, stderr } = spawnSync(bin, ["show", samplePath], { encoding: "utf8" });
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, /^architecture +qwen3moe$/m);
    assert.match(stdout, /^parameters +41\.1 M, 8\.05 M active a token$/m);
    assert.match(stdout, /^experts +32 a layer, 4 a token$/m);
    assert.match(stdout, /^vocabulary +8192 tokens, tokenizer llama$/m);
    assert.match(stdout, /^chat template +yes$/m);
    assert.match(stdout, /^experts +18 +37\.7 M +20\.3 MiB +85\.2 %$/m);
    assert.match(stdout, /^Q4_K +18 +37\.7 M /m);
  });

  it("shows it to programs", { skip: withoutSample }, () => {
    const { status, stdout } = stowage(["show", samplePath, "--json"]);
    assert.equal(status, 0);
    const model = JSON.parse(stdout);
    assert.deepEqual([model.path, model.experts, model.context, model.layers], [samplePath, 32, 512, 6]);
    assert.equal(model.kinds.experts.parameters, 6 * 32 * 3 * 256 * 256);
  });

  it("lets no control characters of the file through to the terminal", async () => {
    const path = join(folder, "odd.gguf");
    await writeGguf(path, {
      metadata: [
        ["general.architecture", gguf.string("odd")],
        ["general.name", gguf.string("a\u001b[2Jb\u009bc\nd")],
      ],
      tensors: [{ name: "token_embd.weight", type: "F32", shape: [8, 2] }],
      data: () => new Uint8Array(64),
    });
    const { status, stdout } = stowage(["show", path]);
    assert.equal(status, 0);
    assert.match(stdout, /^name +a \[2Jb c d\narchitecture +odd \(not supported\)$/m);
    assert.doesNotMatch(stdout.replaceAll("\n", ""), /\p{C}/u);
  });

  it("exits with 1 and says why for what is no model", () => {
    const { status, stdout, stderr } = stowage(["show", import.meta.filename]);
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /is not a GGUF file/);
  });
});
