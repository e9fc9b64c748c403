import { StowageError } from "../errors.ts";

/** HOBBIT: what an expert weighs decides how it is read when it is not there. */
export interface HobbitOptions {
  readonly mode: "hobbit";
  /** The same model in lower types, as `stowage quantize` makes it: where the low-precision copies come from. */
  readonly low: string;
  /** A missing expert with at least this share of its token's weights is read in full precision. Default 0.4. */
  readonly full?: number;
  /** Below this it is skipped, between the two its copy is used. Default 0.1, at most `full`. */
  readonly skip?: number;
}

/** A mode that trades exactness for fewer bytes from the disk; see docs/lossy.md. */
export type LossyOptions = HobbitOptions;

export type LossyName = LossyOptions["mode"];

export const lossyModes: readonly LossyName[] = ["hobbit"];

export const defaultThresholds = { full: 0.4, skip: 0.1 };

/** A lossy mode as flags or settings give it, piece by piece. */
export interface LossySettings {
  readonly mode?: LossyName | undefined;
  readonly low?: string | undefined;
  readonly full?: number | undefined;
  readonly skip?: number | undefined;
}

/**
 * The mode that the settings make; undefined where there is none.
 * @throws StowageError lossy_settings when one of them lacks another
 */
export function lossyOf(settings: LossySettings): LossyOptions | undefined {
  const { mode, low, full, skip } = settings;
  if (mode === undefined) {
    const [given] =
      Object.entries({ "low experts": low, full, skip }).find(([, value]) => value !== undefined) ?? [];
    if (given === undefined) return undefined;
    throw new StowageError("lossy_settings", { given, missing: "which lossy mode" });
  }
  if (low === undefined)
    throw new StowageError("lossy_settings", { given: mode, missing: "the low experts" });
  return { mode, low, ...(full !== undefined && { full }), ...(skip !== undefined && { skip }) };
}
