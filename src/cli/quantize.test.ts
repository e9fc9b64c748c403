import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { stowage } from "../../test/stowage.ts";
import { openGguf } from "../gguf/read.ts";
import { gguf } from "../gguf/values.ts";
import { writeGguf } from "../gguf/write.ts";
import { writeSyntheticModel } from "../model/synth.ts";

describe("stowage quantize", () => {
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-quantize-cli-"));
    await writeSyntheticModel(join(folder, "in.gguf"), {
      architecture: "olmoe",
      layers: 1,
      width: 256,
      heads: 4,
      kvHeads: 4,
      headWidth: 64,
      experts: 4,
      expertsUsed: 2,
      expertWidth: 256,
      vocabulary: 300,
      context: 256,
      ropeBase: 10_000,
      normEpsilon: 1e-5,
      type: "F16",
      seed: 1,
    });
  });
  after(() => rmSync(folder, { recursive: true }));

  it("writes the types asked for", async () => {
    const overrides = ["--override", "ffn_down=q6_k", "--override", "token_embd=q8_0"];
    const flags = ["--type", "q4_k", "--pure", ...overrides, "--threads", "2", "--json"];
    const { status, stdout, stderr } = stowage(["quantize", "in.gguf", "out.gguf", ...flags], folder);
    assert.deepEqual([status, stderr], [0, ""]);
    const { seconds, bitsAWeight, ...made } = JSON.parse(stdout);
    const bytes = statSync(join(folder, "out.gguf")).size;
    assert.deepEqual(made, { input: "in.gguf", output: "out.gguf", type: "Q4_K_M", bytes });
    assert.ok(seconds > 0 && bitsAWeight > 4 && bitsAWeight < 6, stdout);
    const { tensors } = await openGguf(join(folder, "out.gguf"));
    const found = ["token_embd", "output", "blk.0.ffn_down_exps", "blk.0.ffn_up_exps", "blk.0.attn_norm"].map(
      (name) => tensors.get(`${name}.weight`)?.type,
    );
    assert.deepEqual(found, ["Q8_0", "Q4_K", "Q6_K", "Q4_K", "F32"]);
  });

  it("makes one file of several", async () => {
    const names = ["a.weight", "b.weight"];
    for (const [index, name] of names.entries()) {
      const split = (key: string, value: number) => [`split.${key}`, { type: "u16", value }] as const;
      await writeGguf(join(folder, `parts-0000${index + 1}-of-00002.gguf`), {
        metadata: [
          ["general.architecture", gguf.string("llama")],
          split("no", index),
          split("count", names.length),
          ["split.tensors.count", { type: "i32", value: names.length }],
        ],
        tensors: [{ name, type: "F32", shape: [256, 2] }],
        data: () => new Uint8Array(new Float32Array(512).fill(index + 1).buffer),
      });
    }
    const args = ["parts-00001-of-00002.gguf", "whole.gguf", "--type", "q8_0", "--json"];
    const { status, stdout, stderr } = stowage(["quantize", ...args], folder);
    assert.deepEqual([status, stderr], [0, ""]);
    const { metadata, tensors, shards } = await openGguf(join(folder, "whole.gguf"));
    assert.deepEqual([...tensors.keys()], names);
    assert.deepEqual([shards.length, metadata.has("split.count")], [1, false]);
    assert.equal(JSON.parse(stdout).bytes, shards[0]!.bytes);
  });

  const refusals: [string[], number, RegExp][] = [
    [["in.gguf", "no.gguf"], 2, /--type/],
    [["in.gguf", "no.gguf", "--type", "q9"], 2, /It has to be one of f32, f16/],
    [["in.gguf", "no.gguf", "--type", "q4_0", "--override", "q6_k"], 2, /It has to be like ffn_down=q6_k/],
    [["in.gguf", "no.gguf", "--type", "q4_0", "--override", "attn=i64"], 2, /type I64: it is no float type/],
    [["in.gguf", "no.gguf", "--type", "iq2_xs"], 2, /would become IQ2_XS/],
    [["in.gguf", "no.gguf", "--type", "q4_0", "--imatrix", "in.gguf"], 2, /in\.gguf is no importance matrix/],
    [["none.gguf", "no.gguf", "--type", "q4_0"], 1, /none\.gguf cannot be read/],
    [["in.gguf", "none/no.gguf", "--type", "q4_0"], 1, /none\/no\.gguf was not written/],
  ];
  for (const [args, expected, message] of refusals) {
    it(`exits with ${expected} on: ${args.join(" ")}`, () => {
      const { status, stdout, stderr } = stowage(["quantize", ...args], folder);
      assert.deepEqual([status, stdout], [expected, ""]);
      assert.match(stderr, message);
      assert.match(stderr, /\nnext: /);
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.startsWith("no")),
        [],
      );
    });
  }
});
