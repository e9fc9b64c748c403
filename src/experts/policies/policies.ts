import { LeastFrequentlyRecentlyUsed } from "./lfru.ts";
import { LeastFrequentlyUsed } from "./lfu.ts";
import { LeastRecentlyUsed } from "./lru.ts";
import type { EvictionPolicy } from "./policy.ts";

const evictions = {
  lru: () => new LeastRecentlyUsed(),
  lfu: () => new LeastFrequentlyUsed(),
  lfru: () => new LeastFrequentlyRecentlyUsed(),
} as const satisfies Record<string, () => EvictionPolicy>;

export type EvictionName = keyof typeof evictions;

export const evictionNames = Object.keys(evictions) as EvictionName[];

/** A fresh policy of this name. */
export function evictionPolicy(name: EvictionName): EvictionPolicy {
  return evictions[name]();
}
