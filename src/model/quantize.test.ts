import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { quantizeByLlama } from "../../test/llama-quantize.ts";
import { StowageError } from "../errors.ts";
import type { TensorType } from "../ggml/types.ts";
import { openGguf } from "../gguf/read.ts";
import { gguf } from "../gguf/values.ts";
import { writeGguf } from "../gguf/write.ts";
import { quantizeModel } from "./quantize.ts";
import { writeSyntheticModel } from "./synth.ts";

const tiny = {
  architecture: "qwen3moe",
  layers: 1,
  width: 256,
  heads: 4,
  kvHeads: 2,
  headWidth: 64,
  experts: 4,
  expertsUsed: 2,
  expertWidth: 256,
  vocabulary: 1500,
  context: 256,
  ropeBase: 10_000,
  normEpsilon: 1e-5,
  seed: 3,
} as const;

describe("quantizeModel", () => {
  let folder: string;
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-quantize-"));
    await writeSyntheticModel(at("f32.gguf"), { ...tiny, type: "F32" });
    await writeSyntheticModel(at("f16.gguf"), { ...tiny, type: "F16" });
    await writeSyntheticModel(at("q8_0.gguf"), { ...tiny, type: "Q8_0" });
    await writeSyntheticModel(at("narrow.gguf"), { ...tiny, type: "F32", expertWidth: 96 });
  });
  after(() => rmSync(folder, { recursive: true }));

  const types: readonly TensorType[] = [
    "F16",
    "BF16",
    "Q8_0",
    "Q6_K",
    "Q5_K",
    "Q4_K",
    "Q3_K",
    "Q4_0",
    "IQ4_NL",
  ];
  for (const from of ["f32", "f16", "q8_0"]) {
    it(`from ${from}: every tensor's bytes are those that llama.cpp writes`, async () => {
      for (const type of types.filter((name) => name.toLowerCase() !== from)) {
        await quantizeModel(at(`${from}.gguf`), at("own.gguf"), { type, threads: 2 });
        quantizeByLlama(at(`${from}.gguf`), at("llama.gguf"), type);
        const own = await tensorData(at("own.gguf"));
        const expected = await tensorData(at("llama.gguf"));
        assert.deepEqual([...own.keys()].sort(), [...expected.keys()].sort());
        for (const [name, { type: found, data }] of own) {
          assert.equal(found, expected.get(name)!.type, `${name} in ${type}`);
          assert.ok(data.equals(expected.get(name)!.data), `${name} in ${type}`);
        }
        const { metadata } = await openGguf(at("own.gguf"));
        const { metadata: theirs } = await openGguf(at("llama.gguf"));
        for (const key of ["general.file_type", "general.quantization_version", "qwen3moe.expert_count"])
          assert.equal(metadata.number(key), theirs.number(key), `${key} in ${type}`);
      }
    });
  }

  it("keeps vectors and routers, follows overrides, and falls back where blocks do not fit", async () => {
    await quantizeModel(at("narrow.gguf"), at("own.gguf"), {
      type: "Q4_K",
      overrides: [
        ["token_embd", "Q8_0"],
        ["attn_", "Q6_K"],
      ],
      threads: 2,
    });
    const { tensors } = await openGguf(at("own.gguf"));
    const expected: Record<string, TensorType> = {
      "token_embd.weight": "Q8_0",
      "output.weight": "Q4_K",
      "output_norm.weight": "F32",
      "blk.0.attn_q.weight": "Q6_K",
      "blk.0.attn_q_norm.weight": "F32",
      "blk.0.ffn_gate_inp.weight": "F32",
      "blk.0.ffn_gate_exps.weight": "Q4_K",
      // Rows of 96.
      "blk.0.ffn_down_exps.weight": "Q5_0",
    };
    for (const [name, type] of Object.entries(expected)) assert.equal(tensors.get(name)?.type, type, name);
  });

  it("may write over its source, and reports all of its bytes", async () => {
    const { tensors } = await openGguf(at("narrow.gguf"));
    const total = [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    let last = [0, 0];
    await quantizeModel(at("narrow.gguf"), at("copy.gguf"), { type: "F32", threads: 1 });
    await quantizeModel(at("copy.gguf"), at("copy.gguf"), {
      type: "Q4_0",
      threads: 3,
      progress: (...reported) => (last = reported),
    });
    assert.deepEqual(last, [total, total]);
    assert.equal((await openGguf(at("copy.gguf"))).tensors.get("output.weight")?.type, "Q4_0");
  });

  it("refuses a NaN, naming its place, and leaves nothing behind", async () => {
    const values = new Float32Array(256 * 4).fill(1);
    values[700] = Number.NaN;
    await writeGguf(at("nan.gguf"), {
      metadata: [["general.architecture", gguf.string("llama")]],
      tensors: [{ name: "a.weight", type: "F32", shape: [256, 4] }],
      data: () => new Uint8Array(values.buffer),
    });
    await assert.rejects(
      quantizeModel(at("nan.gguf"), at("refused.gguf"), { type: "Q4_0", threads: 2 }),
      (error) => {
        assert.ok(error instanceof StowageError);
        assert.deepEqual(
          [error.code, error.details.name, error.details.element],
          ["quantize_not_finite", "a.weight", 700],
        );
        return true;
      },
    );
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith("refused")),
      [],
    );
  });

  it("refuses types that cannot be made", async () => {
    const quantize = quantizeModel(at("f32.gguf"), at("refused.gguf"), { type: "IQ1_S", threads: 1 });
    await assert.rejects(
      quantize,
      (error) => error instanceof StowageError && error.code === "quantize_type",
    );
  });
});

async function tensorData(path: string): Promise<Map<string, { type: TensorType; data: Buffer }>> {
  const { tensors } = await openGguf(path);
  const bytes = readFileSync(path);
  return new Map(
    [...tensors.values()].map(({ name, type, offset, bytes: size }) => [
      name,
      { type, data: bytes.subarray(offset, offset + size) },
    ]),
  );
}
