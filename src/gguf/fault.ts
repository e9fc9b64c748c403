import { type ErrorCode, StowageError } from "../errors.ts";

type GgufCode = Extract<ErrorCode, `gguf_${string}`>;

/**
 * An error about one field of a model file. `field` names what was read, `value` is what stood there, `limit`
 * says in words what is allowed.
 */
export function fault(
  code: GgufCode,
  path: string,
  field: string,
  value: string | number | bigint,
  limit: string,
): StowageError {
  return new StowageError(code, { path, field, value, limit });
}

/** A text out of a file, fit for a message: quoted, control characters escaped, at most about 80 characters. */
export function quoted(text: string): string {
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return JSON.stringify(shown);
}

/** What the operating system said, without its stack. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
