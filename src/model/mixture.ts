import type { Metadata } from "../gguf/metadata.ts";
import { ArchitectureKeys, bounds, require } from "./architecture-keys.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import type { RouterOptions } from "./router.ts";

/** How experts can be chosen, by the number in a file. */
const gatings: Readonly<Record<number, NonNullable<RouterOptions["gating"]>>> = {
  1: "softmax",
  2: "sigmoid",
  3: "softmax of the chosen",
};

/**
 * How experts are chosen, as the file tells it.
 * @param gating where the file does not say; undefined when it has to
 * @throws StowageError model_invalid, gguf_metadata_missing, gguf_metadata_type
 */
export function readRouter(metadata: Metadata, gating?: RouterOptions["gating"]): RouterOptions {
  const keys = new ArchitectureKeys(metadata);
  // 0 stands for nothing in files, both of the gating and of the scale.
  const number = keys.whole("expert_gating_func", 0, 1000, gating && 0);
  const found = number === 0 ? gating : gatings[number];
  const known = "1 (softmax), 2 (sigmoid) or 3 (softmax of the chosen)";
  require(found !== undefined, keys.key("expert_gating_func"), number, known);
  const normalise = metadata.boolean(keys.key("expert_weights_norm"), false);
  const scale = keys.real("expert_weights_scale", 0, 1e6, 1);
  return { gating: found!, normalise, scale: scale === 0 ? 1 : scale };
}

/** `count` groups of neighbours among the experts of a layer, of which `used` are chosen from for each token. */
export interface ExpertGroups {
  readonly count: number;
  readonly used: number;
}

/** Experts of a group whose scores are its own. */
export const bestOfGroup = 2;

/**
 * Groups of experts, as any mixture of experts may have them in libllama.
 * @returns undefined where there is one group
 * @throws StowageError model_invalid, gguf_metadata_type
 */
export function readExpertGroups(
  keys: ArchitectureKeys,
  experts: number,
  expertsUsed: number,
): ExpertGroups | undefined {
  const count = keys.whole("expert_group_count", 0, bounds.experts, 0);
  if (count <= 1) return undefined;
  const each = experts / count;
  const limit = `a divisor of ${experts} experts that leaves each group ${bestOfGroup} or more`;
  require(Number.isInteger(each) && each >= bestOfGroup, keys.key("expert_group_count"), count, limit);
  const least = Math.ceil(expertsUsed / each);
  return { count, used: keys.whole("expert_group_used_count", least, count) };
}

/** What mixtures of experts have whose layers are not all alike. */
export type MixedLayers = Pick<
  Hyperparameters,
  "layers" | "denseLayers" | "sharedExpertWidth" | "skippedBlocks"
>;

/**
 * Dense layers at the beginning, blocks that are not run at the end, and a network that every token takes.
 * @throws StowageError model_invalid, gguf_metadata_type
 */
export function readMixedLayers(metadata: Metadata, h: Hyperparameters): MixedLayers {
  const keys = new ArchitectureKeys(metadata);
  require(h.experts > 0, keys.key("expert_count"), h.experts, "at least 1");
  const skippedBlocks = keys.whole("nextn_predict_layers", 0, h.layers - 1, 0);
  const layers = h.layers - skippedBlocks;
  const denseLayers = keys.whole("leading_dense_block_count", 0, layers - 1, 0);
  const missing = denseLayers > 0 && h.feedForwardWidth === 0;
  require(!missing, keys.key("feed_forward_length"), h.feedForwardWidth, "at least 1");
  const shared = keys.whole("expert_shared_count", 0, bounds.experts, 0);
  return { layers, denseLayers, skippedBlocks, sharedExpertWidth: shared * h.expertWidth };
}
