import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionTensors, denseTensors } from "../specs.ts";

/** Gemma: scaled embeddings, GELU. */
export const gemma: Family = {
  name: "gemma",
  read(metadata) {
    const h = readHyperparameters(metadata, "halves");
    return { ...h, activation: "gelu", embeddingScale: Math.sqrt(h.width) };
  },
  layerTensors: (h) => [...attentionTensors(h, "none"), ...denseTensors(h)],
  async layer(blocks, weights, x) {
    return blocks.feedForward(weights, blocks.attention(weights, x, { norms: "none" }));
  },
};
