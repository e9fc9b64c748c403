import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionTensors, denseTensors } from "../specs.ts";

/** Qwen3, dense: normalised queries and keys a head. */
export const qwen3: Family = {
  name: "qwen3",
  read: (metadata) => readHyperparameters(metadata, "halves"),
  layerTensors: (h) => [...attentionTensors(h, "each head"), ...denseTensors(h)],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "each head" });
    return blocks.feedForward(weights, attended);
  },
};
