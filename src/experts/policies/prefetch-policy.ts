import type { ExpertId, Observer } from "./policy.ts";

/**
 * Experts to read before they are asked for, in this order, in the place of what the policy wanted before and what has
 * not begun; undefined leaves that as it is. Those that are there already cost nothing.
 */
export type Wanted = readonly ExpertId[] | undefined;

/**
 * Which experts to read before they are asked for. It says what it would like; the mechanism reads it while the disk has
 * nothing else to do, as long as the layer is to come.
 */
export type PrefetchPolicy = Observer<Wanted>;
