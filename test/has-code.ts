import { type ErrorCode, StowageError } from "../src/errors.ts";

/** For `assert.throws` and `assert.rejects`: whether an error is the catalogue's error `code`. */
export function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StowageError && error.code === code;
}
