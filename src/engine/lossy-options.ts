import { StowageError } from "../errors.ts";

/** HOBBIT: what an expert weighs decides how it is read when it is not there. */
export interface HobbitOptions {
  readonly mode: "hobbit";
  /** The same model in lower types, as `stowage quantize` makes it: where the low-precision copies come from. */
  readonly low: string;
  /** A missing expert with at least this share of its token's weights is read in full precision. Default 1.2 of an equal share: 0.3 where a token has four experts. */
  readonly full?: number;
  /** Below this it is skipped, between the two its copy is used. Default 0.4 of an equal share, at most `full`. */
  readonly skip?: number;
}

/** EdgeMoE: every expert has a precision of its own, by how much its low one costs. */
export interface EdgeMoeOptions {
  readonly mode: "edgemoe";
  /** As {@link HobbitOptions.low}. */
  readonly low: string;
  /** What all experts may take, each in its own precision: bytes, or a share of all in full precision, such as "75%". */
  readonly bytes: number | string;
  /** What low experts cost, as `stowage lab sensitivity` writes it. Default: beside the low file. */
  readonly sensitivity?: string;
}

/** A mode that trades exactness for fewer bytes from the disk; see docs/lossy.md. */
export type LossyOptions = HobbitOptions | EdgeMoeOptions;

export type LossyName = LossyOptions["mode"];

export const lossyModes: readonly LossyName[] = ["hobbit", "edgemoe"];

/** In equal shares: 1 over the experts of a token. Measured in docs/lossy.md. */
export const defaultThresholds = { full: 1.2, skip: 0.4 };

/** A lossy mode as flags or settings give it, piece by piece. */
export interface LossySettings {
  readonly lossy?: LossyName | undefined;
  readonly lowExperts?: string | undefined;
  readonly lossyFull?: number | undefined;
  readonly lossySkip?: number | undefined;
  readonly lossyBytes?: number | string | undefined;
}

/** What each mode needs, and what it may have. */
const needed = {
  hobbit: { must: ["lowExperts"], may: ["lossyFull", "lossySkip"] },
  edgemoe: { must: ["lowExperts", "lossyBytes"], may: [] },
} as const;

/**
 * The mode that the settings make; undefined where there is none.
 * @throws StowageError lossy_settings when one of them lacks another, or has nothing to say in this mode
 */
export function lossyOf(settings: LossySettings): LossyOptions | undefined {
  const { lossy: mode, lowExperts: low, lossyFull: full, lossySkip: skip, lossyBytes: bytes } = settings;
  const { must, may } = mode === undefined ? { must: [], may: [] } : needed[mode];
  const known: readonly string[] = ["lossy", ...must, ...may];
  for (const [setting, value] of Object.entries(settings)) {
    if (value === undefined || known.includes(setting)) continue;
    const reason = mode === undefined ? "without a mode it says nothing" : `it says nothing to ${mode}`;
    throw new StowageError("lossy_settings", { setting: flagOf(setting), reason });
  }
  for (const setting of must) {
    if (settings[setting] !== undefined) continue;
    throw new StowageError("lossy_settings", { setting: flagOf(setting), reason: `${mode} needs it` });
  }
  if (mode === "hobbit") {
    return { mode, low: low!, ...(full !== undefined && { full }), ...(skip !== undefined && { skip }) };
  }
  return mode && { mode, low: low!, bytes: bytes! };
}

function flagOf(setting: string): string {
  return `--${setting.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
