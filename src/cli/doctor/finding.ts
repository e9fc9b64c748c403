import { readFileSync } from "node:fs";
import { join } from "node:path";
import { StowageError } from "../../errors.ts";

/** `warn`: it works, and could work better; `fail`: it does not. */
export type Verdict = "ok" | "warn" | "fail";

/** What was looked at, and what was found. */
export interface Finding {
  readonly check: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** What to try. */
  readonly next?: string;
}

/** One finding for each thing that is not as it should be, or one that all is well. */
export function ok(check: string, found: string): Finding {
  return { check, verdict: "ok", found };
}

export function warn(check: string, found: string, next: string): Finding {
  return { check, verdict: "warn", found, next };
}

export function fail(check: string, found: string, next: string): Finding {
  return { check, verdict: "fail", found, next };
}

/** What an error says, as a finding. */
export function failed(check: string, error: unknown, next: string): Finding {
  const message = error instanceof Error ? error.message : String(error);
  return fail(check, message, error instanceof StowageError ? error.next : next);
}

/** A small file that the system keeps about itself; undefined where there is none. */
export function systemText(root: string, path: string): string | undefined {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return undefined;
  }
}
