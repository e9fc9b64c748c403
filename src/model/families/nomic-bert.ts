import { encoderEmbeddings, encoderGlobals, encoderLayer, layerNorm, readEncoder } from "../encoder.ts";
import type { Family } from "../family.ts";
import { gatedNetwork } from "../feed-forward.ts";

/** Nomic's BERT (nomic-embed-text): RoPE, a gated feed-forward network, no biases but those of norms. */
export const nomicBert: Family = {
  name: "nomic-bert",
  read: readEncoder,
  globalTensors: (h, vocabulary) => encoderGlobals(h, vocabulary, "rope"),
  layerTensors: (h) => [
    { name: "attn_qkv.weight", shape: [h.width, 3 * h.width], use: "matrix" },
    { name: "attn_output.weight", shape: [h.width, h.width], use: "matrix" },
    ...layerNorm("attn_output_norm", h.width),
    { name: "ffn_gate.weight", shape: [h.width, h.feedForwardWidth], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_up.weight", shape: [h.width, h.feedForwardWidth], use: "matrix", join: "ffn_gate_up" },
    { name: "ffn_down.weight", shape: [h.feedForwardWidth, h.width], use: "matrix" },
    ...layerNorm("layer_output_norm", h.width),
  ],
  embed: (blocks) => encoderEmbeddings(blocks, "rope"),
  async layer(blocks, weights, x) {
    return encoderLayer(blocks, weights, x, "rope", (middle) => gatedNetwork(blocks, weights, middle, ""));
  },
};
