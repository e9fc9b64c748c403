import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionBiases, attentionTensors, bias, expertTensors, globalTensors } from "../specs.ts";

/**
 * Phi-3.5 MoE as llama.cpp computes it: root-mean-square norms, though with biases; biases of all projections and of
 * the output; experts weighted by a normalised softmax; LongRoPE.
 */
export const phimoe: Family = {
  name: "phimoe",
  // Files have LongRoPE's factors without naming it.
  read: (metadata) => ({ ...readHyperparameters(metadata, "halves"), longRope: true }),
  globalTensors: (h, vocabulary) => [
    ...globalTensors(h, vocabulary),
    bias("output_norm", h.width),
    bias("output", vocabulary),
  ],
  layerTensors: (h) => [
    ...attentionTensors(h, "none"),
    ...attentionBiases(h),
    ...["attn_norm", "attn_output", "ffn_norm"].map((name) => bias(name, h.width)),
    ...expertTensors(h),
  ],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "none" });
    return blocks.experts(weights, attended, { normalise: true });
  },
};
