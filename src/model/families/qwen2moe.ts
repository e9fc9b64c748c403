import { ArchitectureKeys, bounds } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionBiases, attentionTensors, expertTensors } from "../specs.ts";

/**
 * Qwen2 MoE (Qwen1.5-MoE): experts weighted by the softmax as it is, and a shared expert that each token takes by as much
 * as a gate of its own says.
 */
export const qwen2moe: Family = {
  name: "qwen2moe",
  read(metadata) {
    const h = readHyperparameters(metadata, "halves");
    const keys = new ArchitectureKeys(metadata);
    const wide = h.feedForwardWidth;
    const each = Math.floor(wide / Math.max(1, h.expertsUsed));
    return {
      ...h,
      feedForwardWidth: 0,
      expertWidth: keys.whole("expert_feed_forward_length", 1, bounds.feedForward, each),
      sharedExpertWidth: keys.whole("expert_shared_feed_forward_length", 1, bounds.feedForward, wide),
    };
  },
  layerTensors: (h) => [
    ...attentionTensors(h, "none"),
    ...attentionBiases(h),
    ...expertTensors(h),
    { name: "ffn_gate_inp_shexp.weight", shape: [h.width], use: "vector" },
  ],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "none" });
    return blocks.experts(weights, attended, { normalise: false });
  },
};
