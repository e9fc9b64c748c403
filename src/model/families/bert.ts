import { encoderEmbeddings, encoderGlobals, encoderLayer, layerNorm, readEncoder } from "../encoder.ts";
import type { Family } from "../family.ts";
import { attentionBiases } from "../specs.ts";

/** BERT and its relatives (MiniLM, BGE, E5, GTE): learnt positions, biases everywhere, GELU. */
export const bert: Family = {
  name: "bert",
  read: readEncoder,
  globalTensors: (h, vocabulary) => encoderGlobals(h, vocabulary, "table"),
  layerTensors: (h) => [
    { name: "attn_q.weight", shape: [h.width, h.width], use: "matrix", join: "attn_qkv" },
    { name: "attn_k.weight", shape: [h.width, h.width], use: "matrix", join: "attn_qkv" },
    { name: "attn_v.weight", shape: [h.width, h.width], use: "matrix", join: "attn_qkv" },
    ...attentionBiases(h),
    { name: "attn_output.weight", shape: [h.width, h.width], use: "matrix" },
    { name: "attn_output.bias", shape: [h.width], use: "vector" },
    ...layerNorm("attn_output_norm", h.width),
    { name: "ffn_up.weight", shape: [h.width, h.feedForwardWidth], use: "matrix" },
    { name: "ffn_up.bias", shape: [h.feedForwardWidth], use: "vector" },
    { name: "ffn_down.weight", shape: [h.feedForwardWidth, h.width], use: "matrix" },
    { name: "ffn_down.bias", shape: [h.width], use: "vector" },
    ...layerNorm("layer_output_norm", h.width),
  ],
  embed: (blocks) => encoderEmbeddings(blocks, "table"),
  async layer(blocks, weights, x) {
    return encoderLayer(blocks, weights, x, "table", (middle) => {
      const hidden = blocks.scope.context.gelu(blocks.product(weights, "ffn_up.weight", middle));
      return blocks.product(weights, "ffn_down.weight", hidden);
    });
  },
};
