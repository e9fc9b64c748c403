import type { Metadata } from "../gguf/metadata.ts";
import { ArchitectureKeys, bounds, require } from "./architecture-keys.ts";
import type { Hyperparameters } from "./hyperparameters.ts";

/**
 * Latent attention: keys and values of all heads come from one vector of `rank` elements a token, beside which the
 * rotated part of the key stands, the same for all heads. A head's query and key have `plainWidth` + `rotatedWidth`
 * elements.
 */
export interface Latent {
  readonly rank: number;
  /** Width through which queries go; 0 where they are projected at once. */
  readonly queryRank: number;
  readonly plainWidth: number;
  readonly rotatedWidth: number;
  /** Of a head's values. */
  readonly valueWidth: number;
  /**
   * The matrix that makes keys of the vector is multiplied with the queries, and the one that makes values of it with
   * what attention gives: the cache holds vectors, one key head for all query heads. Else it holds keys and values.
   */
  readonly absorbed: boolean;
}

/**
 * What latent attention has.
 * @throws StowageError model_invalid, gguf_metadata_missing, gguf_metadata_type
 */
export function readLatent(metadata: Metadata, h: Hyperparameters): Latent {
  const keys = new ArchitectureKeys(metadata);
  const check = (holds: boolean, name: string, value: number, limit: string) =>
    require(holds, keys.key(`attention.${name}`), value, limit);
  const { heads, kvHeads, headWidth, valueWidth } = h;
  const rank = keys.whole("attention.kv_lora_rank", 1, bounds.width);
  const queryRank = keys.whole("attention.q_lora_rank", 0, bounds.width, 0);
  const rotatedWidth = h.rope.dimensions;
  const absorbed = keys.has("attention.key_length_mla") || keys.has("attention.value_length_mla");
  const both = { rank, queryRank, rotatedWidth, absorbed };
  if (!absorbed) {
    check(kvHeads === heads, "head_count_kv", kvHeads, `${heads}, as many as query heads`);
    check(headWidth > rotatedWidth, "key_length", headWidth, `above ${rotatedWidth}, what is rotated`);
    return { ...both, plainWidth: headWidth - rotatedWidth, valueWidth };
  }
  check(kvHeads === 1, "head_count_kv", kvHeads, "1");
  check(headWidth === rank + rotatedWidth, "key_length", headWidth, `${rank + rotatedWidth}`);
  check(valueWidth === rank, "value_length", valueWidth, `${rank}`);
  const keyWidth = keys.whole("attention.key_length_mla", rotatedWidth + 1, bounds.headWidth);
  const ownWidth = keys.whole("attention.value_length_mla", 1, bounds.headWidth);
  return { ...both, plainWidth: keyWidth - rotatedWidth, valueWidth: ownWidth };
}
