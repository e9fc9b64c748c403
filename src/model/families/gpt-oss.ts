import { ArchitectureKeys, bounds, require } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { readHyperparameters, readWindow } from "../hyperparameters.ts";
import { readRouter } from "../mixture.ts";
import {
  apart,
  attentionBiases,
  attentionTensors,
  expertBiases,
  expertTensors,
  plainGlobalTensors,
} from "../specs.ts";

/** The norm before experts has the name of a norm after attention. */
const norm = "post_attention_norm";
/** Every so many layers one looks at all tokens. */
const period = 2;
const gating = "softmax of the chosen";

/**
 * gpt-oss: biases everywhere, a sink in each head's softmax, a sliding window in every other layer, experts by a
 * softmax over the chosen, gated by its own bounded activation.
 */
export const gptOss: Family = {
  name: "gpt-oss",
  read(metadata) {
    const h = readHyperparameters(metadata, "halves");
    const keys = new ArchitectureKeys(metadata);
    require(h.experts > 0, keys.key("expert_count"), h.experts, "at least 1");
    const router = readRouter(metadata, gating);
    const found = router.gating ?? "none";
    require(found === gating, keys.key("expert_gating_func"), found, gating);
    keys.whole("attention.sliding_window", 1, bounds.context);
    const every = keys.whole("attention.sliding_window_pattern", 1, 100, period);
    const base = keys.real("rope.freq_base_swa", 1, 1e12, h.rope.base);
    const window = readWindow(metadata, h.layers, { ...h.rope, base }, every);
    return { ...h, ...window, activation: "swiglu_oai", router };
  },
  globalTensors: plainGlobalTensors,
  layerTensors: (h) => [
    ...attentionTensors(h, "none"),
    ...attentionBiases(h),
    { name: "attn_output.bias", shape: [h.width], use: "vector" },
    { name: "attn_sinks.weight", shape: [h.heads], use: "vector" },
    ...apart(expertTensors(h, norm)),
    ...expertBiases(h),
  ],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "none" });
    return blocks.experts(weights, attended, { ...blocks.hyperparameters.router!, norm });
  },
};
