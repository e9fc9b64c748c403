import { CommanderError } from "commander";
import { StowageError } from "../errors.ts";

/**
 * The exit code for what a command threw: 2 when the command line or its input is at fault, 1 for everything else,
 * 0 when commander ends early on purpose (`--help`, `--version`).
 */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return error instanceof StowageError && isCallersFault(error.status) ? 2 : 1;
}

/** The lines `error: …` and `next: …` for a person; with STOWAGE_DEBUG=1 the stack as well. */
export function formatError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const next =
    error instanceof StowageError
      ? error.next
      : "This is not expected: run it again with STOWAGE_DEBUG=1 and report what it prints.";
  const stack = process.env.STOWAGE_DEBUG === "1" && error instanceof Error ? `${error.stack}\n` : "";
  return `error: ${message}\nnext: ${next}\n${stack}`;
}

/** 429 is the server's state, not the caller's mistake. */
function isCallersFault(status: number): boolean {
  return status >= 400 && status < 500 && status !== 429;
}
