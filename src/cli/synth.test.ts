import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { stowage } from "../../test/stowage.ts";
import { openGguf } from "../gguf/read.ts";

describe("stowage synth", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-synth-cli-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("writes the published shape in the type asked for", async () => {
    const out = join(folder, "one-layer.gguf");
    const flags = ["--like", "olmoe-1b-7b", "--quant", "q4_0", "--layers", "1", "--seed", "3"];
    const { status, stdout, stderr } = stowage(["synth", ...flags, "--out", out, "--json"]);
    assert.deepEqual([status, stderr], [0, ""]);
    const { seconds, ...made } = JSON.parse(stdout);
    const bytes = statSync(out).size;
    assert.deepEqual(made, { path: out, bytes, like: "olmoe-1b-7b", type: "Q4_0", layers: 1, seed: 3 });
    assert.ok(seconds > 0);
    const { metadata, tensors } = await openGguf(out);
    assert.equal(metadata.number("olmoe.expert_count"), 64);
    assert.deepEqual(tensors.get("blk.0.ffn_up_exps.weight")?.shape, [2048, 1024, 64]);
    assert.deepEqual(tensors.get("output.weight")?.shape, [2048, 50_304]);
    assert.deepEqual(readdirSync(folder), ["one-layer.gguf"]);
  });

  it("makes the routing as local as asked, and tells in the file", async () => {
    const out = join(folder, "local.gguf");
    const flags = ["--like", "olmoe-1b-7b", "--quant", "q4_0", "--layers", "1", "--locality", "51%"];
    const { status, stdout, stderr } = stowage(["synth", ...flags, "--out", out, "--json"]);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.equal(JSON.parse(stdout).locality, 0.51);
    const { metadata } = await openGguf(out);
    assert.equal(metadata.string("stowage.synth.locality"), "51%");
    rmSync(out);
  });

  it("names the model and the type in the file when it is not told a path", () => {
    const flags = ["--like", "olmoe-1b-7b", "--quant", "IQ4_NL", "--layers", "1"];
    const { status, stdout } = stowage(["synth", ...flags], folder);
    assert.equal(status, 0);
    assert.match(stdout, /^wrote olmoe-1b-7b-synthetic-iq4_nl\.gguf: [\d.]+ MiB in [\d.]+ s\n$/);
    assert.ok(existsSync(join(folder, "olmoe-1b-7b-synthetic-iq4_nl.gguf")));
  });

  const refusals: [string[], RegExp][] = [
    [["--like", "gpt-5", "--quant", "q4_0"], /olmoe-1b-7b, qwen3-30b-a3b, mixtral-8x7b/],
    [["--like", "olmoe-1b-7b", "--quant", "q9_0"], /It has to be a type such as/],
    [["--like", "olmoe-1b-7b", "--quant", "q4_0", "--layers", "0"], /a whole number from 1 on/],
    [["--like", "olmoe-1b-7b"], /--quant/],
    [["--like", "olmoe-1b-7b", "--quant", "q4_0", "--locality", "0.5"], /"uniform", or a percentage/],
    [
      ["--like", "olmoe-1b-7b", "--quant", "q4_0", "--layers", "1", "--locality", "20%"],
      /locality is 20%; .* from 32\.\d% to 9\d\.\d% for 8 of 64 experts/,
    ],
    [["--like", "olmoe-1b-7b", "--quant", "i32"], /type I32: it is no float type/],
  ];
  for (const [flags, message] of refusals) {
    it(`exits with 2 on: ${flags.join(" ")}`, () => {
      const { status, stdout, stderr } = stowage(["synth", ...flags], folder);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, message);
      assert.match(stderr, /\nnext: /);
    });
  }
});
