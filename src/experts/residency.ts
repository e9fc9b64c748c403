import type { ExpertHeat } from "./expert-heat.ts";
import type { LayerCounts } from "./metrics.ts";
import type { ActingPolicies } from "./policies/pair.ts";
import type { ExpertId } from "./policies/policy.ts";
import type { Resident } from "./residents.ts";

/** What an expert is at a moment, as one character. */
export const stateLetters = {
  /** On disk alone. */
  absent: ".",
  /** It has a slot, and its record is on its way. */
  reading: "r",
  present: "p",
  /** Read ahead, and not used yet. */
  ahead: "a",
  /** The step that runs computes with it. */
  inUse: "u",
} as const;

export type ResidencyState = keyof typeof stateLetters;

/** The experts of one layer. */
export interface LayerResidency {
  /** Its number in the model. */
  readonly layer: number;
  /** One letter of {@link stateLetters} an expert. */
  readonly states: string;
  /** One digit an expert: d for one that about (d / 9)² of the latest decode steps used. */
  readonly heat: string;
  /** Since the model was loaded. */
  readonly counts: LayerCounts;
}

/** What lies where in a cache of experts, and what came of it. */
export interface Residency {
  readonly slots: number;
  /** Bytes of the slots. */
  readonly bytes: number;
  readonly policy: {
    readonly eviction: string;
    readonly prefetch: string;
    readonly acting: ActingPolicies;
    /** What it has come to, for people. */
    readonly says: string | undefined;
  };
  readonly layers: readonly LayerResidency[];
  /** What came while a policy acted, of all that acted; see {@link PolicyOutcome}. */
  readonly outcomes: readonly PolicyOutcome[];
}

/** What decode steps came to while these policies decided; times in ms. */
export interface PolicyOutcome extends LayerCounts {
  readonly eviction: string;
  readonly prefetch: string;
  steps: number;
}

/**
 * The experts of a layer, as letters and digits.
 * @param first id of its first expert
 * @param isStepping whether steps run: what the latest has used counts as in use
 */
export function layerLetters(
  first: ExpertId,
  experts: number,
  residentOf: (id: ExpertId) => Resident | undefined,
  heat: ExpertHeat,
  isStepping: boolean,
): { states: string; heat: string } {
  let states = "";
  let digits = "";
  for (let id = first; id < first + experts; id++) {
    states += stateLetters[stateOf(residentOf(id), isStepping && heat.isLatest(id))];
    digits += Math.round(9 * Math.sqrt(heat.share(id)));
  }
  return { states, heat: digits };
}

function stateOf(resident: Resident | undefined, isLatest: boolean): ResidencyState {
  if (!resident) return "absent";
  if (resident.loading) return "reading";
  if (resident.pins > 0 || isLatest) return "inUse";
  return resident.ahead ? "ahead" : "present";
}
