import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { tinyLatentHeads, tinyShapes } from "../../test/tiny-model.ts";
import { StowageError } from "../errors.ts";
import { Metadata } from "../gguf/metadata.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { familyOf } from "./families.ts";
import { hasExperts } from "./hyperparameters.ts";
import { readRouter } from "./mixture.ts";
import { metadataOf, type SyntheticShape } from "./synth.ts";

/** The hyper-parameters of a shape, with some metadata changed. */
function read(shape: SyntheticShape, changes: Record<string, GgufValue> = {}) {
  const metadata = { ...shape.metadata, ...changes };
  const entries = metadataOf({ ...shape, metadata, type: "F32", seed: 1 });
  return familyOf(shape.architecture).read(new Metadata(new Map(entries), "model.gguf"));
}

const { glm4moe, deepseek2, smallthinker, "gpt-oss": gptOss } = tinyShapes as Record<string, SyntheticShape>;

describe("mixtures of experts", () => {
  it("have dense layers, a shared expert and a router as the file says", () => {
    const h = read(glm4moe!, { nextn_predict_layers: gguf.u32(1) });
    const { layers, denseLayers, skippedBlocks, sharedExpertWidth, router } = h;
    assert.deepEqual([layers, denseLayers, skippedBlocks, sharedExpertWidth], [2, 1, 1, 512]);
    assert.deepEqual(
      [0, 1].map((layer) => hasExperts(h, layer)),
      [false, true],
    );
    assert.deepEqual(router, { gating: "sigmoid", normalise: true, scale: 1.5 });
  });

  it("route by the family's gating where the file has none or 0", () => {
    for (const entries of [[], [["x.expert_gating_func", gguf.u32(0)] as const]]) {
      const metadata = new Metadata(
        new Map<string, GgufValue>([["general.architecture", gguf.string("x")], ...entries]),
        "model.gguf",
      );
      assert.equal(readRouter(metadata, "sigmoid").gating, "sigmoid");
      const code = entries.length === 0 ? "gguf_metadata_missing" : "model_invalid";
      assert.throws(() => readRouter(metadata), hasCode(code));
    }
  });
});

describe("layers of SmallThinker", () => {
  it("have windows and positions but for every fourth; all have positions without windows", () => {
    const h = read({ ...smallthinker!, layers: 6 });
    assert.deepEqual(h.window?.layers, [false, true, true, true, false, true]);
    assert.deepEqual(h.unrotated, [true, false, false, false, true, false]);
    const without = read(smallthinker!, { "attention.sliding_window": gguf.u32(0) });
    assert.deepEqual([without.window, without.unrotated], [undefined, undefined]);
    // libllama takes a model of one period for one without windows here.
    assert.deepEqual(read({ ...smallthinker!, layers: 4 }).unrotated, [false, false, false, false]);
  });
});

describe("latent attention", () => {
  it("keeps vectors or keys and values of all heads", () => {
    const absorbed = { rank: 256, queryRank: 256, plainWidth: 64, rotatedWidth: 32, valueWidth: 64 };
    assert.deepEqual(read(deepseek2!).latent, { ...absorbed, absorbed: true });
    assert.deepEqual(read(tinyLatentHeads).latent, { ...absorbed, queryRank: 0, absorbed: false });
  });
});

const wrong: [shape: SyntheticShape, key: string, value: GgufValue][] = [
  [glm4moe!, "expert_gating_func", gguf.u32(4)],
  [glm4moe!, "expert_weights_scale", gguf.f32(Number.NaN)],
  [glm4moe!, "expert_group_count", gguf.u32(3)],
  [glm4moe!, "expert_group_count", gguf.u32(8)],
  [glm4moe!, "leading_dense_block_count", gguf.u32(3)],
  [glm4moe!, "nextn_predict_layers", gguf.u32(3)],
  [glm4moe!, "feed_forward_length", gguf.u32(0)],
  [glm4moe!, "expert_shared_count", gguf.u32(1_000_000)],
  [glm4moe!, "rope.dimension_sections", gguf.u32(1)],
  [gptOss!, "attention.sliding_window", gguf.u32(0)],
  [gptOss!, "expert_gating_func", gguf.u32(2)],
  [smallthinker!, "attention.sliding_window", gguf.u32(128)],
  [smallthinker!, "rope.dimension_count", gguf.u32(32)],
  [smallthinker!, "expert_gating_func", gguf.u32(0)],
  [deepseek2!, "attention.temperature_scale", gguf.f32(0.5)],
  [deepseek2!, "attention.kv_lora_rank", gguf.u32(0)],
  [deepseek2!, "attention.key_length_mla", gguf.u32(32)],
  [deepseek2!, "attention.head_count_kv", gguf.u32(4)],
  [deepseek2!, "attention.key_length", gguf.u32(256)],
  [deepseek2!, "attention.value_length", gguf.u32(64)],
  [tinyLatentHeads, "attention.head_count_kv", gguf.u32(1)],
  [tinyLatentHeads, "attention.key_length", gguf.u32(32)],
];

/** Keys whose value is named in words. */
const shownOtherwise = new Set(["rope.dimension_sections", "expert_gating_func"]);

describe("metadata that no such model can have is refused by name and value", () => {
  for (const [shape, key, value] of wrong) {
    it(`${shape.architecture}: ${key} of ${value.value}`, () => {
      assert.throws(
        () => read(shape, { [key]: value }),
        (error) => {
          assert.ok(error instanceof StowageError);
          assert.equal(error.code, "model_invalid");
          assert.equal(error.details.field, `${shape.architecture}.${key}`);
          if (!shownOtherwise.has(key)) assert.equal(String(error.details.value), String(value.value));
          return true;
        },
      );
    });
  }
});
