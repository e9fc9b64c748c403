import type { TensorType } from "../ggml/types.ts";

/** Types that a KV cache can have, as settings name them. */
export const kvTypeNames = ["f16", "q8_0", "q4_0"] as const;

export type KvTypeName = (typeof kvTypeNames)[number];

/** The types of a KV cache's keys and values. */
export interface KvTypes {
  readonly keys: TensorType;
  readonly values: TensorType;
}

export const defaultKvTypes: KvTypes = { keys: "F16", values: "F16" };

/** F16 where nothing is named. */
export function kvTypesOf(keys: KvTypeName = "f16", values: KvTypeName = "f16"): KvTypes {
  const types = { f16: "F16", q8_0: "Q8_0", q4_0: "Q4_0" } as const;
  return { keys: types[keys], values: types[values] };
}

export function isQuantised({ keys, values }: KvTypes): boolean {
  return keys !== "F16" || values !== "F16";
}
