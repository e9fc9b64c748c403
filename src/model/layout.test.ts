import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { tinyShapes } from "../../test/tiny-model.ts";
import { StowageError } from "../errors.ts";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { Metadata } from "../gguf/metadata.ts";
import { type GgufFile, type GgufTensor, openGguf } from "../gguf/read.ts";
import { gguf } from "../gguf/values.ts";
import { families, familyOf } from "./families.ts";
import { planWeights } from "./layout.ts";
import { writeSyntheticModel } from "./synth.ts";

describe("planWeights", () => {
  let folder: string;
  let backend: Backend;
  const files = new Map<string, GgufFile>();
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-layout-"));
    backend = new Backend(loadNative(), { threads: 1 });
    for (const { name } of families) {
      const path = join(folder, `${name}.gguf`);
      await writeSyntheticModel(path, { ...tinyShapes[name]!, type: "Q8_0", seed: 1 });
      files.set(name, await openGguf(path));
    }
  });
  after(() => {
    backend.dispose();
    rmSync(folder, { recursive: true });
  });

  /** Plans the file of a family with some of its tensors changed, or without them. */
  function plan(architecture: string, changes: Record<string, Partial<GgufTensor> | undefined>) {
    const file = files.get(architecture)!;
    const tensors = new Map(file.tensors);
    for (const [name, change] of Object.entries(changes)) {
      if (change) tensors.set(name, { ...tensors.get(name)!, ...change });
      else tensors.delete(name);
    }
    return planWeights({ ...file, tensors }, familyOf(architecture), backend);
  }

  const refusal = (code: string, name: string) => (error: unknown) => {
    assert.ok(error instanceof StowageError);
    assert.equal(error.code, code);
    assert.equal(error.details.name, name);
    return true;
  };

  for (const { name: architecture } of families) {
    it(`${architecture}: every tensor but the output is needed, and is named when it is missing`, () => {
      for (const name of files.get(architecture)!.tensors.keys()) {
        if (name === "output.weight") continue;
        assert.throws(() => plan(architecture, { [name]: undefined }), refusal("model_tensor_missing", name));
      }
    });

    it(`${architecture}: a tensor of another shape is named`, () => {
      for (const [name, { shape }] of files.get(architecture)!.tensors) {
        // The vocabulary is as long as the embeddings: any length of those is right by itself.
        const wrong = [shape[0]! * 2, ...shape.slice(1)];
        const change = { [name]: { shape: wrong } };
        assert.throws(() => plan(architecture, change), refusal("model_tensor_shape", name));
      }
    });

    it(`${architecture}: a tensor of a type that cannot be computed with is named`, () => {
      for (const [name, { shape }] of files.get(architecture)!.tensors) {
        const change = { [name]: { type: shape.length === 1 ? "F16" : "I32" } as const };
        assert.throws(() => plan(architecture, change), refusal("model_tensor_type", name));
      }
    });
  }

  it("a tensor that the family does not compute with is named", () => {
    const bias: GgufTensor = {
      ...files.get("llama")!.tensors.get("output_norm.weight")!,
      name: "blk.1.attn_q.bias",
    };
    const change = { [bias.name]: bias };
    assert.throws(() => plan("llama", change), refusal("model_tensor_unknown", bias.name));
  });

  it("tensors of blocks that are not run are left alone; behind those they are not", () => {
    const file = files.get("glm4moe")!;
    const norm = file.tensors.get("output_norm.weight")!;
    const key = "glm4moe.nextn_predict_layers";
    const values = new Map([...file.metadata, [key, gguf.u32(1)]]);
    values.set("glm4moe.block_count", gguf.u32(4));
    const metadata = new Metadata(values, file.path);
    const withBlock = (block: number) => {
      const name = `blk.${block}.nextn.enorm.weight`;
      return new Map([...file.tensors, [name, { ...norm, name }]]);
    };
    const planOf = (block: number) =>
      planWeights({ ...file, metadata, tensors: withBlock(block) }, familyOf("glm4moe"), backend);
    assert.equal(planOf(3).layers.length, 3);
    assert.throws(() => planOf(4), refusal("model_tensor_unknown", "blk.4.nextn.enorm.weight"));
  });

  it("a vector that a file has as a matrix of one row is the same", () => {
    const name = "blk.0.ffn_gate_inp_shexp.weight";
    const { layers } = plan("qwen2moe", { [name]: { shape: [tinyShapes.qwen2moe!.width, 1] } });
    assert.ok(layers[0]!.has("ffn_gate_inp_shexp.weight"));
  });

  it("an output of another vocabulary than the embeddings is named", () => {
    const change = {
      "output.weight": { shape: [tinyShapes.llama!.width, tinyShapes.llama!.vocabulary + 1] },
    };
    assert.throws(() => plan("llama", change), refusal("model_tensor_shape", "output.weight"));
  });

  it("without an output the embeddings are it", () => {
    const { globals } = plan("llama", { "output.weight": undefined });
    assert.equal(globals.get("output.weight")!.parts[0]!.name, "token_embd.weight");
  });
});
