import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionTensors, expertTensors } from "../specs.ts";

/** OLMoE: queries and keys normalised over all heads together, experts weighted by the softmax as it is. */
export const olmoe: Family = {
  name: "olmoe",
  read: (metadata) => readHyperparameters(metadata, "halves"),
  layerTensors: (h) => [...attentionTensors(h, "all heads"), ...expertTensors(h)],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "all heads" });
    return blocks.experts(weights, attended, { normalise: false });
  },
};
