import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StowageError } from "../errors.ts";
import { Metadata } from "../gguf/metadata.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { families, familyOf } from "./families.ts";
import { readHyperparameters } from "./hyperparameters.ts";

const scalar = (type: "i32" | "u16", value: number): GgufValue => ({ type, value });

/** The least that a model says about itself. */
const least: Record<string, GgufValue> = {
  "general.architecture": gguf.string("qwen3moe"),
  "qwen3moe.block_count": gguf.u32(2),
  "qwen3moe.context_length": gguf.u32(512),
  "qwen3moe.embedding_length": gguf.u32(256),
  "qwen3moe.attention.head_count": gguf.u32(8),
  "qwen3moe.attention.layer_norm_rms_epsilon": gguf.f32(2 ** -20),
};

function read(changes: Record<string, GgufValue | undefined> = {}) {
  const entries = Object.entries({ ...least, ...changes });
  const present = entries.filter((entry): entry is [string, GgufValue] => entry[1] !== undefined);
  return readHyperparameters(new Metadata(new Map(present), "model.gguf"), "halves");
}

describe("readHyperparameters", () => {
  it("what is left out has its usual value", () => {
    assert.deepEqual(read(), {
      architecture: "qwen3moe",
      layers: 2,
      width: 256,
      heads: 8,
      kvHeads: 8,
      headWidth: 32,
      valueWidth: 32,
      feedForwardWidth: 0,
      activation: "silu",
      experts: 0,
      expertsUsed: 0,
      expertWidth: 0,
      denseLayers: 0,
      sharedExpertWidth: 0,
      skippedBlocks: 0,
      contextTrained: 512,
      normEpsilon: 2 ** -20,
      rope: {
        dimensions: 32,
        mode: "halves",
        base: 10_000,
        scale: 1,
        contextOriginal: 512,
        extrapolation: 0,
        attentionFactor: 1,
        betaFast: 32,
        betaSlow: 1,
      },
      longRope: false,
    });
  });

  it("what is given is taken, in any type of number", () => {
    const h = read({
      "qwen3moe.attention.head_count_kv": scalar("u16", 2),
      "qwen3moe.attention.key_length": { type: "u64", value: 64n },
      "qwen3moe.attention.value_length": gguf.u32(64),
      "qwen3moe.expert_count": gguf.u32(16),
      "qwen3moe.expert_used_count": gguf.u32(4),
      "qwen3moe.expert_feed_forward_length": gguf.u32(96),
      "qwen3moe.feed_forward_length": gguf.u32(128),
      "qwen3moe.rope.dimension_count": gguf.u32(48),
      "qwen3moe.rope.freq_base": gguf.f32(1_000_000),
      "qwen3moe.rope.scaling.type": gguf.string("none"),
    });
    const { kvHeads, headWidth, experts, expertsUsed, expertWidth, feedForwardWidth, rope } = h;
    assert.deepEqual(
      [kvHeads, headWidth, experts, expertsUsed, expertWidth, feedForwardWidth],
      [2, 64, 16, 4, 96, 128],
    );
    assert.deepEqual([rope.dimensions, rope.base], [48, 1_000_000]);
  });

  for (const key of Object.keys(least)) {
    it(`without ${key} it is an error that names it`, () => {
      assert.throws(() => read({ [key]: undefined }), refusal("gguf_metadata_missing", key));
    });
  }

  it("a value of another type is an error that names it", () => {
    const key = "qwen3moe.block_count";
    assert.throws(() => read({ [key]: gguf.string("2") }), refusal("gguf_metadata_type", key));
    const scaling = "qwen3moe.rope.scaling.type";
    assert.throws(() => read({ [scaling]: gguf.u32(0) }), refusal("gguf_metadata_type", scaling));
  });

  const experts = { "qwen3moe.expert_count": gguf.u32(8), "qwen3moe.expert_used_count": gguf.u32(2) };
  const nonsense: [key: string, value: GgufValue, others?: Record<string, GgufValue>][] = [
    ["block_count", gguf.u32(0)],
    ["block_count", gguf.u32(4_000_000_000)],
    ["block_count", gguf.f32(1.5)],
    ["context_length", gguf.u32(0)],
    ["embedding_length", gguf.u32(0)],
    ["embedding_length", scalar("i32", -256)],
    ["attention.head_count", gguf.u32(0)],
    ["attention.head_count_kv", gguf.u32(0)],
    ["attention.head_count_kv", gguf.u32(3)],
    ["attention.head_count_kv", gguf.u32(16)],
    ["attention.key_length", gguf.u32(1)],
    ["attention.value_length", gguf.u32(64)],
    ["attention.layer_norm_rms_epsilon", gguf.f32(Number.NaN)],
    ["attention.layer_norm_rms_epsilon", gguf.f32(-1e-5)],
    ["rope.dimension_count", gguf.u32(31)],
    ["rope.dimension_count", gguf.u32(34)],
    ["rope.freq_base", gguf.f32(0)],
    ["rope.freq_base", gguf.f32(Number.POSITIVE_INFINITY)],
    ["rope.scaling.type", gguf.string("dynamic")],
    ["rope.scaling.factor", gguf.f32(-1)],
    ["rope.scaling.original_context_length", gguf.u32(0)],
    ["expert_used_count", gguf.u32(9), experts],
    ["expert_used_count", gguf.u32(0), experts],
    ["expert_count", gguf.u32(1_000_000)],
    ["feed_forward_length", scalar("i32", -1)],
    ["expert_feed_forward_length", gguf.u32(4_000_000_000), experts],
  ];
  for (const [name, value, others] of nonsense) {
    const shown = String(value.value);
    it(`${name} of ${shown} is refused by name and value`, () => {
      const key = `qwen3moe.${name}`;
      assert.throws(
        () => read({ ...others, [key]: value }),
        (error) => {
          refusal("model_invalid", key)(error);
          assert.equal(String((error as StowageError).details.value), shown);
          return true;
        },
      );
    });
  }

  it("an architecture that is not known is an error that lists those that are", () => {
    assert.throws(
      () => familyOf("gpt5"),
      (error) => {
        refusal("model_architecture", "gpt5")(error);
        const known = families.map(({ name }) => name).join(", ");
        assert.ok((error as StowageError).next.includes(`${known}.`));
        return true;
      },
    );
  });
});

function refusal(code: string, field: string): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof StowageError);
    assert.equal(error.code, code);
    assert.ok(error.message.includes(field), error.message);
    return true;
  };
}
