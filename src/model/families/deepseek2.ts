import { ArchitectureKeys, require } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { hasExperts, readHyperparameters } from "../hyperparameters.ts";
import { readLatent } from "../latent.ts";
import { latentTensors } from "../latent-attention.ts";
import { readMixedLayers, readRouter } from "../mixture.ts";
import { withLessGrowth } from "../rope.ts";
import { denseTensors, expertTensors, plainGlobalTensors, selectionBias } from "../specs.ts";

/**
 * DeepSeek V2 and V3 and their relatives: latent attention, a dense layer or more at the beginning, then experts and
 * one that all tokens take. Files have the matrix that makes keys and values of vectors as one, or for each head.
 */
export const deepseek2: Family = {
  name: "deepseek2",
  read(metadata) {
    const h = readHyperparameters(metadata, "neighbours", { latent: true });
    const latent = readLatent(metadata, h);
    const width = latent.plainWidth + latent.rotatedWidth;
    const keys = new ArchitectureKeys(metadata);
    const temperature = keys.real("attention.temperature_scale", 0, 1e3, 0);
    require(temperature === 0, keys.key(
      "attention.temperature_scale",
    ), temperature, "0 (scores that grow with positions are not supported yet)");
    // Files have a tenth of what the growth of scores with the stretch of contexts is multiplied by.
    const multiplier = 10 * keys.real("rope.scaling.yarn_log_multiplier", 0, 100, 0);
    const rope = multiplier === 0 ? h.rope : withLessGrowth(h.rope, 1);
    const growth = -Math.log(rope.scale) / 10;
    const grown = rope.attentionFactor * (1 + growth) * (1 + multiplier * growth);
    return {
      ...h,
      rope,
      ...readMixedLayers(metadata, h),
      latent,
      attentionScale: grown ** 2 / Math.sqrt(width),
      router: readRouter(metadata, "softmax"),
    };
  },
  globalTensors: plainGlobalTensors,
  layerTensors(h, layer) {
    const attention = latentTensors(h);
    if (!hasExperts(h, layer)) return [...attention, ...denseTensors(h)];
    return [...attention, ...expertTensors(h), { ...selectionBias(h), optional: true }];
  },
  async layer(blocks, weights, x) {
    const attended = blocks.latentAttention(weights, x);
    const { hyperparameters: h, layer } = blocks;
    if (!hasExperts(h, layer)) return blocks.feedForward(weights, attended);
    return blocks.experts(weights, attended, h.router!);
  },
};
