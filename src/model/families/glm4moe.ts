import { ArchitectureKeys, require } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { hasExperts, readHyperparameters } from "../hyperparameters.ts";
import { readMixedLayers, readRouter } from "../mixture.ts";
import {
  attentionBiases,
  attentionNorms,
  attentionTensors,
  denseTensors,
  expertTensors,
  plainGlobalTensors,
  selectionBias,
} from "../specs.ts";

/** Its norms before feed-forward networks have the name of a norm after attention. */
const norm = "post_attention_norm";

/**
 * GLM-4.5: a dense layer or more at the beginning, then experts by biased sigmoids and one that all tokens take. Only
 * a part of each head is rotated. The last blocks of its files predict tokens further on, and are not run.
 */
export const glm4moe: Family = {
  name: "glm4moe",
  read(metadata) {
    const h = readHyperparameters(metadata, "halves");
    const keys = new ArchitectureKeys(metadata);
    const sections = keys.key("rope.dimension_sections");
    require(!metadata.has(sections), sections, "given", "absent (models of images are not supported)");
    return { ...h, ...readMixedLayers(metadata, h), router: readRouter(metadata, "sigmoid") };
  },
  globalTensors: plainGlobalTensors,
  layerTensors(h, layer) {
    const someHave = [...attentionNorms(h, "each head"), ...attentionBiases(h)];
    const optional = someHave.map((spec) => ({ ...spec, optional: true }));
    const attention = [...attentionTensors(h, "none"), ...optional];
    if (!hasExperts(h, layer)) return [...attention, ...denseTensors(h, norm)];
    return [...attention, ...expertTensors(h, norm), selectionBias(h)];
  },
  async layer(blocks, weights, x) {
    const norms = weights.find("attn_q_norm.weight") ? "each head" : "none";
    const attended = blocks.attention(weights, x, { norms });
    const { hyperparameters: h, layer } = blocks;
    if (!hasExperts(h, layer)) return blocks.feedForward(weights, attended, { norm });
    return blocks.experts(weights, attended, { ...h.router!, norm });
  },
};
