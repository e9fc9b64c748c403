import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionTensors, denseTensors, expertTensors } from "../specs.ts";

/** Llama and its relatives, Mixtral's experts included: RoPE on neighbouring pairs, no norms inside attention. */
export const llama: Family = {
  name: "llama",
  read: (metadata) => readHyperparameters(metadata, "neighbours"),
  layerTensors: (h) => [...attentionTensors(h, "none"), ...(h.experts ? expertTensors(h) : denseTensors(h))],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "none" });
    if (blocks.hyperparameters.experts === 0) return blocks.feedForward(weights, attended);
    return blocks.experts(weights, attended, { normalise: true });
  },
};
