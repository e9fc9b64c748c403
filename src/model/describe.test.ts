import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { TensorType } from "../ggml/types.ts";
import { openGguf } from "../gguf/read.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { writeGguf } from "../gguf/write.ts";
import { describeModel } from "./describe.ts";

describe("describeModel", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-describe-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const write = (
    name: string,
    metadata: [string, GgufValue][],
    tensors: [name: string, shape: number[], type?: TensorType][],
  ) =>
    writeGguf(join(folder, name), {
      metadata: [["general.architecture", gguf.string("next9")], ...metadata],
      tensors: tensors.map(([tensor, shape, type = "F16"]) => ({ name: tensor, shape, type })),
      data: ({ shape, type }) => new Uint8Array(shape.reduce((a, b) => a * b, type === "F32" ? 4 : 2)),
    });
  const describeFile = async (name: string) => describeModel(await openGguf(join(folder, name)));

  it("puts every tensor into one part, and counts the experts in use as active", async () => {
    const count: [string, GgufValue][] = [
      ["next9.expert_count", gguf.u32(8)],
      ["next9.expert_used_count", gguf.u32(2)],
      // Layer by layer: not one number to show.
      ["next9.attention.head_count_kv", gguf.i32s([4, 2])],
    ];
    await write("moe.gguf", count, [
      ["token_embd.weight", [10, 7]],
      ["output.weight", [10, 7]],
      ["blk.0.attn_q.weight", [10, 10]],
      ["blk.0.attn_q.bias", [10], "F32"],
      ["blk.0.attn_q_norm.weight", [10], "F32"],
      ["blk.0.post_attention_norm.weight", [10], "F32"],
      ["blk.0.ffn_gate_inp.weight", [10, 8], "F32"],
      ["blk.0.exp_probs_b.bias", [8], "F32"],
      ["blk.0.ffn_up_exps.weight", [10, 5, 8]],
      ["blk.0.ffn_up_shexp.weight", [10, 5]],
      ["blk.0.ssm_conv1d.weight", [4, 4]],
    ]);
    const { kinds, types, ...model } = await describeFile("moe.gguf");
    const parameters = Object.entries(kinds).map(([kind, share]) => [kind, share.tensors, share.parameters]);
    assert.deepEqual(parameters, [
      ["embeddings", 2, 140],
      ["attention", 2, 110],
      ["experts", 1, 400],
      ["router", 2, 88],
      ["feed-forward", 1, 50],
      ["norms", 2, 20],
      ["other", 1, 16],
    ]);
    assert.equal(model.parameters, 824);
    assert.equal(model.activeParameters, 824 - 300);
    assert.equal(kinds.experts?.bytes, 800);
    assert.deepEqual(Object.keys(types), ["F16", "F32"]);
    assert.deepEqual(types.F32, { tensors: 5, parameters: 118, bytes: 472 });
    assert.deepEqual([model.supported, model.vocabulary, model.chatTemplate], [false, 7, false]);
    assert.equal(model.kvHeads, undefined);
  });

  it("adds up all shards", async () => {
    const split = (no: number): [string, GgufValue][] => [
      ["split.no", { type: "u16", value: no }],
      ["split.count", { type: "u16", value: 2 }],
      ["split.tensors.count", { type: "i32", value: 2 }],
    ];
    await write("a-00001-of-00002.gguf", split(0), [["token_embd.weight", [16, 4]]]);
    await write("a-00002-of-00002.gguf", split(1), [["blk.0.ffn_up.weight", [16, 16]]]);
    const model = await describeFile("a-00001-of-00002.gguf");
    assert.equal(model.shards.length, 2);
    assert.equal(model.bytes, model.shards[0]!.bytes + model.shards[1]!.bytes);
    assert.equal(model.parameters, 16 * 20);
    assert.equal(model.activeParameters, model.parameters);
  });
});
