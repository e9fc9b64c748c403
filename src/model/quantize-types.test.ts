import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { planByLlama } from "../../test/llama-quantize.ts";
import { type QuantizeSample, writeQuantizeSample } from "../../test/quantize-sample.ts";
import { openGguf } from "../gguf/read.ts";
import { type RecipeName, recipeOf, recipes } from "./quantize-recipes.ts";
import { planTypes } from "./quantize-types.ts";

/** Models that the mixes treat differently. */
const samples: Record<string, QuantizeSample> = {
  "24 layers": { architecture: "llama", layers: 24, experts: 0 },
  "own keys and values": { architecture: "llama", layers: 9, experts: 0, heads: 4, kvHeads: 4 },
  "4 heads share keys": { architecture: "qwen3", layers: 17, experts: 0, heads: 8, kvHeads: 2 },
  "70 billion weights": { architecture: "llama", layers: 80, experts: 0, heads: 8, kvHeads: 1 },
  "80 layers, own keys": { architecture: "llama", layers: 80, experts: 0, heads: 4, kvHeads: 4 },
  "80 layers of qwen2": { architecture: "qwen2", layers: 80, experts: 0, heads: 8, kvHeads: 4 },
  "80 layers of qwen3": { architecture: "qwen3", layers: 80, experts: 0 },
  "8 experts": { architecture: "llama", layers: 16, experts: 8 },
  "8 experts, rows of 96": { architecture: "llama", layers: 8, experts: 8, expertWidth: 96 },
  "16 experts": { architecture: "qwen3moe", layers: 13, experts: 16, heads: 8, kvHeads: 1 },
  "tied embeddings": { architecture: "gemma3", layers: 8, experts: 0, tied: true },
  "joined queries, keys and values": { architecture: "phi3", layers: 11, experts: 0, joined: true },
  falcon: { architecture: "falcon", layers: 32, experts: 0, joined: true, kvHeads: 1 },
  "matrices that are kept": {
    architecture: "llama",
    layers: 1,
    experts: 0,
    more: [
      "blk.0.attn_kv_b.weight",
      "blk.0.ffn_gate_shexp.weight",
      "blk.0.ffn_down_shexp.weight",
      "blk.0.ffn_gate_inp.weight",
      "blk.0.ssm_conv1d.weight",
      "blk.0.time_mix_w1.weight",
      "blk.0.attn_q_norm.weight",
      "blk.0.attn_rel_b.weight",
      "blk.0.altup_proj.weight",
      "blk.0.laurel_l.weight",
      "blk.0.indexer.k_proj.weight",
      "blk.0.some.bias",
      "per_layer_token_embd.weight",
      "per_layer_model_proj.weight",
      "position_embd.weight",
      "token_types.weight",
      "v.patch_embd.weight",
    ],
  },
};

describe("planTypes", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-quantize-types-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const [name, sample] of Object.entries(samples)) {
    it(`${name}: llama.cpp's choice for every recipe and tensor`, async () => {
      const path = join(folder, `${Object.keys(samples).indexOf(name)}.gguf`);
      await writeQuantizeSample(path, sample);
      const file = await openGguf(path);
      const all = new Set(file.tensors.keys());
      const ones = new Map([["token_embd.weight", new Float32Array(256).fill(1)]]);
      for (const recipe of Object.keys(recipes) as RecipeName[]) {
        // Has blocks of 128, and llama.cpp no other type in its place.
        if (sample.expertWidth === 96 && recipe === "Q1_0") continue;
        const known = planTypes(file, { recipe }, all);
        assert.deepEqual(sorted(known), sorted(planByLlama(path, recipe, { importance: ones })), recipe);
        if (sample.layers < 9) {
          const pure = planTypes(file, { recipe, pure: true }, all);
          const theirs = planByLlama(path, recipe, { pure: true, importance: ones });
          assert.deepEqual(sorted(pure), sorted(theirs), recipe);
        }
        const expected = planByLlama(path, recipe);
        try {
          assert.deepEqual(sorted(planTypes(file, { recipe }, undefined)), sorted(expected), recipe);
        } catch (error) {
          if (!(error instanceof Error && "code" in error && error.code === "quantize_imatrix")) throw error;
        }
      }
    });
  }
});

describe("recipeOf", () => {
  it("knows llama.cpp's names, its other names, and no more", () => {
    const names = ["q4_k_m", "Q4_K", "q5_k", "q3_k", "mxfp4", "iq2_m", "q9"];
    assert.deepEqual(names.map(recipeOf), [
      "Q4_K_M",
      "Q4_K_M",
      "Q5_K_M",
      "Q3_K_M",
      "MXFP4_MOE",
      "IQ2_M",
      undefined,
    ]);
  });
});

function sorted(types: ReadonlyMap<string, string>): [string, string][] {
  return [...types].sort(([a], [b]) => (a < b ? -1 : 1));
}
