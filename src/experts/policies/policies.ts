import { AdaptiveReplacement } from "./arc.ts";
import { CompositeEviction } from "./composite-eviction.ts";
import { CompositePrefetch } from "./composite-prefetch.ts";
import { ExpertFlow } from "./expertflow.ts";
import { Fate } from "./fate.ts";
import { Fmoe } from "./fmoe.ts";
import { LeastFrequentlyRecentlyUsed } from "./lfru.ts";
import { LeastFrequentlyUsed } from "./lfu.ts";
import { LeastRecentlyUsed } from "./lru.ts";
import { MixtralOffloading } from "./mixtral-offloading.ts";
import { MoeInfinity } from "./moe-infinity.ts";
import { NextGate } from "./next-gate.ts";
import { PolicyPair } from "./pair.ts";
import { Paths } from "./paths.ts";
import type { EvictionPolicy, PolicyShape } from "./policy.ts";
import { PreAttention } from "./pre-attention.ts";
import type { PrefetchPolicy } from "./prefetch-policy.ts";
import { Successors } from "./successors.ts";

/** One policy: what it evicts by, and what it reads ahead. Where both are of one class, one object has both roles. */
interface Entry {
  readonly eviction: new (shape: PolicyShape) => EvictionPolicy;
  readonly prefetch?: (new (shape: PolicyShape) => PrefetchPolicy) | undefined;
}

/** Every policy by its name, as published or as the field calls it. */
const policies = {
  lru: { eviction: LeastRecentlyUsed },
  lfu: { eviction: LeastFrequentlyUsed },
  lfru: { eviction: LeastFrequentlyRecentlyUsed },
  arc: { eviction: AdaptiveReplacement },
  "mixtral-offloading": { eviction: MixtralOffloading, prefetch: NextGate },
  fate: { eviction: Fate, prefetch: NextGate },
  "pre-attention": { eviction: LeastRecentlyUsed, prefetch: PreAttention },
  expertflow: { eviction: ExpertFlow, prefetch: ExpertFlow },
  fmoe: { eviction: Fmoe, prefetch: Fmoe },
  "moe-infinity": { eviction: MoeInfinity, prefetch: MoeInfinity },
  successors: { eviction: Successors, prefetch: Paths },
  composite: { eviction: CompositeEviction, prefetch: CompositePrefetch },
} as const satisfies Record<string, Entry>;

export type PolicyName = keyof typeof policies;

export const policyNames = Object.keys(policies) as PolicyName[];

const prefetches = {
  none: undefined,
  "next-gate": NextGate,
  "pre-attention": PreAttention,
  expertflow: ExpertFlow,
  paths: Paths,
  fmoe: Fmoe,
  "moe-infinity": MoeInfinity,
  composite: CompositePrefetch,
} as const satisfies Record<string, (new (shape: PolicyShape) => PrefetchPolicy) | undefined>;

export type PrefetchName = keyof typeof prefetches;

export const prefetchNames = Object.keys(prefetches) as PrefetchName[];

/** Chooses for itself among the others. */
export const defaultPolicy: PolicyName = "composite";

/** A fresh policy of this name; what it reads ahead may be another's. */
export function policyPair(name: PolicyName, shape: PolicyShape, prefetch?: PrefetchName): PolicyPair {
  const own: Entry = policies[name];
  const ahead = prefetch === undefined ? own.prefetch : prefetches[prefetch];
  const eviction = new own.eviction(shape);
  if (ahead === undefined) return new PolicyPair(eviction, undefined);
  const both = (ahead as unknown) === own.eviction;
  return new PolicyPair(eviction, both ? (eviction as PrefetchPolicy) : new ahead(shape));
}
