import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { openGguf } from "../gguf/read.ts";
import { gguf } from "../gguf/values.ts";
import { writeGguf } from "../gguf/write.ts";
import { readImatrix, writeImatrix } from "./imatrix-file.ts";
import { type Importance, meanSquares } from "./importance.ts";

const importance: Importance = {
  entries: new Map([
    ["blk.0.attn_q.weight", { sums: Float32Array.of(2, 4, 6, 0), counts: Float32Array.of(2) }],
    [
      "blk.0.ffn_up_exps.weight",
      { sums: Float32Array.of(3, 6, 0, 0, 5, 10), counts: Float32Array.of(3, 0, 5) },
    ],
  ]),
  datasets: ["wiki.txt"],
  chunks: 7,
  chunkTokens: 512,
};

describe("importance matrices as files", () => {
  let folder: string;
  const at = (name: string) => join(folder, name);
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-imatrix-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("are read as they were written, in llama.cpp's words", async () => {
    await writeImatrix(at("a.gguf"), importance);
    assert.deepEqual(await readImatrix(at("a.gguf")), importance);
    const { metadata, tensors } = await openGguf(at("a.gguf"));
    assert.equal(metadata.string("general.type"), "imatrix");
    assert.deepEqual(metadata.strings("imatrix.datasets"), ["wiki.txt"]);
    const shapes = [...tensors.values()].map(({ name, shape }) => [name, shape]);
    assert.deepEqual(shapes, [
      ["blk.0.attn_q.weight.in_sum2", [4]],
      ["blk.0.attn_q.weight.counts", [1]],
      ["blk.0.ffn_up_exps.weight.in_sum2", [2, 3]],
      ["blk.0.ffn_up_exps.weight.counts", [1, 3]],
    ]);
  });

  it("give mean squares, and 1 for an expert that was never chosen", () => {
    const means = [...importance.entries.values()].map((entry) => [...meanSquares(entry)]);
    assert.deepEqual(means, [
      [1, 2, 3, 0],
      [1, 2, 1, 1, 1, 2],
    ]);
  });

  it("are read from the older format", async () => {
    const int = (value: number) => Buffer.from(Int32Array.of(value).buffer);
    const text = (value: string) => Buffer.concat([int(value.length), Buffer.from(value)]);
    const floats = Buffer.from(Float32Array.of(6, 9).buffer);
    const file = Buffer.concat([int(1), text("a.weight"), int(3), int(2), floats, int(5), text("wiki.txt")]);
    writeFileSync(at("old.dat"), file);
    const read = await readImatrix(at("old.dat"));
    assert.deepEqual([...meanSquares(read.entries.get("a.weight")!)], [2, 3]);
    assert.deepEqual([read.chunks, read.datasets], [5, ["wiki.txt"]]);
    for (let length = 4; length < file.length - 16; length++) {
      writeFileSync(at("cut.dat"), file.subarray(0, length));
      await assert.rejects(readImatrix(at("cut.dat")), hasCode("imatrix_invalid"), `${length} bytes`);
    }
  });

  it("are refused when they are something else, or hold what is no sum of squares", async () => {
    writeFileSync(at("text.txt"), "\x00\x00\x00\x00 not much");
    await assert.rejects(readImatrix(at("text.txt")), hasCode("imatrix_invalid"));
    await assert.rejects(readImatrix(at("none.dat")), hasCode("gguf_unreadable"));
    await writeGguf(at("model.gguf"), {
      metadata: [["general.architecture", gguf.string("llama")]],
      tensors: [{ name: "a.weight", type: "F32", shape: [1] }],
      data: () => new Uint8Array(4),
    });
    await assert.rejects(readImatrix(at("model.gguf")), hasCode("imatrix_invalid"));
    const entries = new Map([["a.weight", { sums: Float32Array.of(-1), counts: Float32Array.of(1) }]]);
    await writeImatrix(at("minus.gguf"), { ...importance, entries });
    await assert.rejects(readImatrix(at("minus.gguf")), hasCode("imatrix_invalid"));
  });
});
