import { ArchitectureKeys, require } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { readHyperparameters, readWindow } from "../hyperparameters.ts";
import { readRouter } from "../mixture.ts";
import { attentionTensors, expertTensors, plainGlobalTensors } from "../specs.ts";

/** Every so many layers one looks at all tokens, and knows no positions. */
const period = 4;
/** libllama takes every window for this. */
const windowTokens = 4096;

/**
 * SmallThinker: a router that sees the layer's input, before attention; experts gated by ReLU; in models with a sliding window
 * every fourth layer looks at all tokens, without positions.
 */
export const smallthinker: Family = {
  name: "smallthinker",
  read(metadata) {
    const h = readHyperparameters(metadata, "halves");
    const keys = new ArchitectureKeys(metadata);
    require(h.experts > 0, keys.key("expert_count"), h.experts, "at least 1");
    const router = { ...readRouter(metadata), normalise: true };
    const { dimensions } = h.rope;
    require(dimensions === h.headWidth, keys.key("rope.dimension_count"), dimensions, `${h.headWidth}`);
    const key = "attention.sliding_window";
    const tokens = keys.whole(key, 0, windowTokens, 0);
    require(tokens === 0 || tokens === windowTokens, keys.key(key), tokens, `0 or ${windowTokens}`);
    const both = { ...h, activation: "relu", router } as const;
    if (tokens === 0) return both;
    const every = keys.whole("attention.sliding_window_pattern", 1, 100, period);
    const base = keys.real("rope.freq_base_swa", 1, 1e12, h.rope.base);
    const layers = Array.from({ length: h.layers }, (_, layer) => layer);
    return {
      ...both,
      ...readWindow(metadata, h.layers, { ...h.rope, base }, every, { fullFirst: true }),
      // As libllama has it: a model of just one period rotates all of its layers.
      unrotated: layers.map((layer) => h.layers !== period && layer % period === 0),
    };
  },
  globalTensors: plainGlobalTensors,
  layerTensors: (h) => [...attentionTensors(h, "none"), ...expertTensors(h)],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "none" });
    return blocks.experts(weights, attended, { ...blocks.hyperparameters.router!, routed: x });
  },
};
