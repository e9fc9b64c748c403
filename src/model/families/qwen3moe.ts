import type { Family } from "../family.ts";
import { readHyperparameters } from "../hyperparameters.ts";
import { attentionTensors, expertTensors } from "../specs.ts";

/** Qwen3 MoE (Qwen3-30B-A3B): normalised queries and keys a head, experts weighted by a normalised softmax. */
export const qwen3moe: Family = {
  name: "qwen3moe",
  read: (metadata) => readHyperparameters(metadata, "halves"),
  layerTensors: (h) => [...attentionTensors(h, "each head"), ...expertTensors(h)],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "each head" });
    return blocks.experts(weights, attended, { normalise: true });
  },
};
