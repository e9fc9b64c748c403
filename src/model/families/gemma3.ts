import { ArchitectureKeys } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { readHyperparameters, readWindow } from "../hyperparameters.ts";
import { attentionTensors, denseTensors, postNorm } from "../specs.ts";

/** Every so many layers one looks at all tokens. */
const period = 6;
/** Layers of the one size whose scores are scaled by the width that heads would share evenly. */
const layersOf27B = 62;

/**
 * Gemma 3: five layers with a sliding window and their own RoPE base to one without, norms before and after attention
 * and feed-forward network, scaled embeddings, GELU.
 */
export const gemma3: Family = {
  name: "gemma3",
  read(metadata) {
    const h = readHyperparameters(metadata, "halves");
    const keys = new ArchitectureKeys(metadata);
    const scaledWidth = h.layers === layersOf27B ? h.width / h.heads : h.headWidth;
    const base = keys.real("rope.freq_base_swa", 1, 1e12, 10_000);
    const cap = keys.real("final_logit_softcapping", 0, 1e6, 0);
    return {
      ...h,
      activation: "gelu",
      embeddingScale: Math.sqrt(h.width),
      attentionScale: 1 / Math.sqrt(scaledWidth),
      ...(cap > 0 && { logitSoftCap: cap }),
      ...readWindow(
        metadata,
        h.layers,
        { ...h.rope, base, scale: 1 },
        keys.whole("attention.sliding_window_pattern", 1, 100, period),
      ),
    };
  },
  layerTensors: (h) => [
    ...attentionTensors(h, "each head"),
    postNorm(h, "post_attention_norm"),
    ...denseTensors(h),
    postNorm(h, "post_ffw_norm"),
  ],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "each head", postNorm: "post_attention_norm" });
    return blocks.feedForward(weights, attended, { postNorm: "post_ffw_norm" });
  },
};
