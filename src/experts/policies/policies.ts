import { LeastFrequentlyRecentlyUsed } from "./lfru.ts";
import { LeastFrequentlyUsed } from "./lfu.ts";
import { LeastRecentlyUsed } from "./lru.ts";
import { NextGate } from "./next-gate.ts";
import type { EvictionPolicy, ExpertShape } from "./policy.ts";
import type { PrefetchPolicy } from "./prefetch-policy.ts";
import { Successors } from "./successors.ts";

const evictions = {
  lru: () => new LeastRecentlyUsed(),
  lfu: () => new LeastFrequentlyUsed(),
  lfru: () => new LeastFrequentlyRecentlyUsed(),
  successors: (shape) => new Successors(shape),
} as const satisfies Record<string, (shape: ExpertShape) => EvictionPolicy>;

export type EvictionName = keyof typeof evictions;

export const evictionNames = Object.keys(evictions) as EvictionName[];

/** A fresh policy of this name, for a model of this shape. */
export function evictionPolicy(name: EvictionName, shape: ExpertShape): EvictionPolicy {
  return evictions[name](shape);
}

const prefetches = {
  none: () => undefined,
  "next-gate": () => new NextGate(),
} as const satisfies Record<string, () => PrefetchPolicy | undefined>;

export type PrefetchName = keyof typeof prefetches;

export const prefetchNames = Object.keys(prefetches) as PrefetchName[];

/** A fresh policy of this name; undefined for none. */
export function prefetchPolicy(name: PrefetchName): PrefetchPolicy | undefined {
  return prefetches[name]();
}
