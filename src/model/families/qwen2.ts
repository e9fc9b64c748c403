import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionBiases, attentionTensors, denseTensors } from "../specs.ts";

/** Qwen2 and Qwen2.5, dense: biases of queries, keys and values. */
export const qwen2: Family = {
  name: "qwen2",
  read: (metadata) => readHyperparameters(metadata, "halves"),
  layerTensors: (h) => [...attentionTensors(h, "none"), ...attentionBiases(h), ...denseTensors(h)],
  async layer(blocks, weights, x) {
    return blocks.feedForward(weights, blocks.attention(weights, x, { norms: "none" }));
  },
};
