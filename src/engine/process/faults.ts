import { type ErrorCode, errorCatalogue, StowageError } from "../../errors.ts";
import type { Fault } from "./messages.ts";

/** An error as it goes over the wire; one that is not of the catalogue becomes `engine_fault` with its text. */
export function faultOf(error: unknown): Fault {
  if (!(error instanceof StowageError)) {
    return {
      code: "engine_fault",
      details: { reason: error instanceof Error ? error.message : String(error) },
    };
  }
  const details = Object.entries(error.details).map(([name, value]) => [
    name,
    typeof value === "bigint" || value === undefined ? String(value) : value,
  ]);
  return { code: error.code, details: Object.fromEntries(details) };
}

/** The error that the other side meant. */
export function errorOf({ code, details }: Fault): StowageError {
  if (Object.hasOwn(errorCatalogue, code)) return new StowageError(code as ErrorCode, details);
  return new StowageError("engine_fault", { reason: `an error of an unknown kind: ${code}` });
}
