import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";

/** Phi-3 and Phi-4: queries, keys and values are one tensor in the file, and so are gate and up; LongRoPE. */
export const phi3: Family = {
  name: "phi3",
  // Files have LongRoPE's factors without naming it.
  read: (metadata) => ({ ...readHyperparameters(metadata, "halves"), longRope: true }),
  layerTensors: (h) => [
    { name: "attn_norm.weight", shape: [h.width], use: "vector" },
    { name: "attn_qkv.weight", shape: [h.width, (h.heads + 2 * h.kvHeads) * h.headWidth], use: "matrix" },
    { name: "attn_output.weight", shape: [h.heads * h.headWidth, h.width], use: "matrix" },
    { name: "ffn_norm.weight", shape: [h.width], use: "vector" },
    { name: "ffn_up.weight", shape: [h.width, 2 * h.feedForwardWidth], use: "matrix" },
    { name: "ffn_down.weight", shape: [h.feedForwardWidth, h.width], use: "matrix" },
  ],
  async layer(blocks, weights, x) {
    return blocks.feedForward(weights, blocks.attention(weights, x, { norms: "none" }));
  },
};
