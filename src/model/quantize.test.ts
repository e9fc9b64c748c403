import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { quantizeByLlama } from "../../test/llama-quantize.ts";
import { type QuantizeSample, writeQuantizeSample } from "../../test/quantize-sample.ts";
import { StowageError } from "../errors.ts";
import { rowBytes, type TensorType } from "../ggml/types.ts";
import { openGguf } from "../gguf/read.ts";
import { gguf } from "../gguf/values.ts";
import { writeGguf } from "../gguf/write.ts";
import { type Importance, meanSquares } from "./importance.ts";
import { quantizeModel } from "./quantize.ts";
import { type RecipeName, recipes } from "./quantize-recipes.ts";

const mixture = { architecture: "qwen3moe", layers: 1, experts: 3 };

describe("quantizeModel", () => {
  let folder: string;
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-quantize-"));
    const write = (name: string, sample: QuantizeSample) => writeQuantizeSample(at(name), sample);
    await write("f32.gguf", mixture);
    await write("f16.gguf", { ...mixture, type: "F16" });
    await write("q8_0.gguf", { ...mixture, type: "Q8_0" });
    await write("narrow.gguf", { ...mixture, expertWidth: 96 });
    await write("dense.gguf", { architecture: "llama", layers: 1, experts: 0 });
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Quantises by both, and compares every tensor. */
  async function compare(
    input: string,
    recipe: RecipeName,
    { pure = false, importance }: { pure?: boolean; importance?: Importance | undefined } = {},
  ) {
    const label = `${input} in ${recipe}`;
    const means =
      importance && new Map([...importance.entries].map(([name, entry]) => [name, meanSquares(entry)]));
    await quantizeModel(at(input), at("own.gguf"), { recipe, pure, importance, threads: 2 });
    assert.ok(
      quantizeByLlama(at(input), at("llama.gguf"), recipe, { pure, ...(means && { importance: means }) }),
      label,
    );
    const own = await tensorData(at("own.gguf"));
    const expected = await tensorData(at("llama.gguf"));
    assert.deepEqual([...own.keys()].sort(), [...expected.keys()].sort());
    for (const [name, { type, data }] of own) {
      assert.equal(type, expected.get(name)!.type, `${name} of ${label}`);
      assert.ok(data.equals(expected.get(name)!.data), `${name} of ${label}`);
    }
    const { metadata } = await openGguf(at("own.gguf"));
    const { metadata: theirs } = await openGguf(at("llama.gguf"));
    for (const key of ["general.file_type", "general.quantization_version"])
      assert.equal(metadata.number(key), theirs.number(key), `${key} of ${label}`);
  }

  const names = Object.keys(recipes) as RecipeName[];
  const blind = new Set<RecipeName>([
    "IQ1_S",
    "IQ1_M",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ2_S",
    "IQ2_M",
    "IQ3_XXS",
    "IQ3_XS",
    "Q2_K_S",
  ]);
  for (const input of ["f32.gguf", "dense.gguf"]) {
    for (const recipe of names) {
      it(`${input} in ${recipe}: every tensor's bytes are those that llama.cpp writes`, async () => {
        await compare(input, recipe, { importance: await randomImportance(at(input), /^blk/) });
        await compare(input, recipe, { importance: await randomImportance(at(input), /./), pure: true });
        if (blind.has(recipe)) {
          const none = quantizeModel(at(input), at("none.gguf"), { recipe, threads: 1 });
          await assert.rejects(none, hasCode("quantize_imatrix"));
        } else {
          await compare(input, recipe);
          await compare(input, recipe, { pure: true });
        }
      });
    }
  }

  for (const input of ["f16.gguf", "q8_0.gguf"]) {
    it(`from ${input}: every tensor's bytes are those that llama.cpp writes`, async () => {
      for (const recipe of ["F16", "BF16", "Q6_K", "Q4_K_M", "Q4_0", "IQ4_NL", "MXFP4_MOE"] as const)
        await compare(input, recipe);
    });
  }

  it("follows overrides, and falls back where blocks do not fit", async () => {
    await quantizeModel(at("narrow.gguf"), at("own.gguf"), {
      recipe: "Q4_K_S",
      pure: true,
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
      "blk.0.attn_norm.weight": "F32",
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
    await quantizeModel(at("narrow.gguf"), at("copy.gguf"), { recipe: "F32", threads: 1 });
    await quantizeModel(at("copy.gguf"), at("copy.gguf"), {
      recipe: "Q4_0",
      threads: 3,
      progress: (...reported) => (last = reported),
    });
    assert.deepEqual(last, [total, total]);
    assert.equal((await openGguf(at("copy.gguf"))).tensors.get("token_embd.weight")?.type, "Q4_0");
  });

  it("leaves nothing behind when it is aborted", async () => {
    const abort = new AbortController();
    const work = quantizeModel(at("f32.gguf"), at("aborted.gguf"), {
      recipe: "Q4_0",
      threads: 1,
      signal: abort.signal,
      progress: () => abort.abort(),
    });
    await assert.rejects(work, (error) => error === abort.signal.reason);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith("aborted")),
      [],
    );
  });

  const refusals: [number, RecipeName, string][] = [
    [Number.NaN, "Q4_0", "quantize_not_finite"],
    [1e6, "F16", "quantize_overflow"],
  ];
  for (const [value, recipe, code] of refusals) {
    it(`refuses ${value} in ${recipe}, naming its place, and leaves nothing behind`, async () => {
      const values = new Float32Array(256 * 4).fill(1);
      values[700] = value;
      await writeGguf(at("odd.gguf"), {
        metadata: [["general.architecture", gguf.string("llama")]],
        tensors: [{ name: "a.weight", type: "F32", shape: [256, 4] }],
        data: () => new Uint8Array(values.buffer),
      });
      await assert.rejects(
        quantizeModel(at("odd.gguf"), at("refused.gguf"), { recipe, threads: 2 }),
        (error) => {
          assert.ok(error instanceof StowageError);
          assert.deepEqual([error.code, error.details.name], [code, "a.weight"]);
          return true;
        },
      );
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.startsWith("refused")),
        [],
      );
    });
  }

  it("refuses an importance matrix of another model", async () => {
    const sums = new Float32Array(255).fill(1);
    const entries = new Map([["blk.0.attn_q.weight", { sums, counts: Float32Array.of(1) }]]);
    const importance = { entries, datasets: [], chunks: 1, chunkTokens: 1 };
    const work = quantizeModel(at("f32.gguf"), at("refused.gguf"), {
      recipe: "Q4_0",
      importance,
      threads: 1,
    });
    await assert.rejects(work, hasCode("imatrix_shape"));
  });
});

/** Sums for every matrix, one expert of each layer never chosen. */
async function randomImportance(path: string, names: RegExp): Promise<Importance> {
  const { tensors } = await openGguf(path);
  const matrices = [...tensors.values()].filter(({ name, shape }) => shape.length >= 2 && names.test(name));
  const entries = new Map(
    matrices.map(({ name, shape: [columns = 1, , experts = 1] }) => {
      const sums = Float32Array.from(
        { length: columns * experts },
        (_, index) => 1.5 + Math.sin(index * 1.7),
      );
      const counts = Float32Array.from({ length: experts }, (_, expert) => (expert === 1 ? 0 : 7 + expert));
      return [name, { sums, counts }];
    }),
  );
  return { entries, datasets: ["text"], chunks: 3, chunkTokens: 512 };
}

async function tensorData(path: string): Promise<Map<string, { type: TensorType; data: Buffer }>> {
  const { tensors } = await openGguf(path);
  const bytes = readFileSync(path);
  return new Map(
    [...tensors.values()].map(({ name, type, offset, shape }) => {
      const elements = shape.reduce((product, extent) => product * extent, 1);
      return [name, { type, data: bytes.subarray(offset, offset + rowBytes(type, elements)) }];
    }),
  );
}
