import { ArchitectureKeys } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { readHyperparameters, readWindow } from "../hyperparameters.ts";
import { attentionTensors, denseTensors, postNorm } from "../specs.ts";

/** Every so many layers one looks at all tokens. */
const period = 2;
/** Layers of the one size whose scores are scaled by the width that heads would share evenly. */
const layersOf27B = 46;

/** Gemma 2: as Gemma 3, with bounds on scores and logits instead of norms of queries and keys. */
export const gemma2: Family = {
  name: "gemma2",
  read(metadata) {
    const h = readHyperparameters(metadata, "halves");
    const keys = new ArchitectureKeys(metadata);
    const scaledWidth = h.layers === layersOf27B ? h.width / h.heads : h.headWidth;
    return {
      ...h,
      activation: "gelu",
      embeddingScale: Math.sqrt(h.width),
      attentionScale: 1 / Math.sqrt(scaledWidth),
      attentionSoftCap: keys.real("attn_logit_softcapping", 1e-3, 1e6, 50),
      logitSoftCap: keys.real("final_logit_softcapping", 1e-3, 1e6, 30),
      ...readWindow(metadata, h.layers, h.rope, period),
    };
  },
  layerTensors: (h) => [
    ...attentionTensors(h, "none"),
    postNorm(h, "post_attention_norm"),
    ...denseTensors(h),
    postNorm(h, "post_ffw_norm"),
  ],
  async layer(blocks, weights, x) {
    const attended = blocks.attention(weights, x, { norms: "none", postNorm: "post_attention_norm" });
    return blocks.feedForward(weights, attended, { postNorm: "post_ffw_norm" });
  },
};
