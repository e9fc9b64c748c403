import { StowageError } from "../errors.ts";

/** Longest body, bytes: reading one takes this process up to 0.2 s a MiB, in which everybody waits. */
export const bodyLimit = 2 * 1024 * 1024;
/** Deepest nesting of a body; requests need 6. */
export const depthLimit = 32;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * A request's body as JSON.
 * @throws StowageError body_invalid
 */
export function parseBody(bytes: Buffer): unknown {
  checkDepth(bytes);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new StowageError("body_invalid", { reason: "it is not UTF-8" });
  }
  if (text.trim() === "") throw new StowageError("body_invalid", { reason: "it is empty" });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StowageError("body_invalid", { reason: (error as Error).message });
  }
}

const quote = 0x22;
const backslash = 0x5c;
const openers = new Set([0x5b, 0x7b]);
const closers = new Set([0x5d, 0x7d]);

/** Nesting costs whoever reads it stack and time: it is counted before anybody does. */
function checkDepth(bytes: Buffer): void {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index]!;
    if (inString) {
      if (byte === backslash) index++;
      else if (byte === quote) inString = false;
    } else if (byte === quote) inString = true;
    else if (closers.has(byte)) depth--;
    else if (openers.has(byte) && ++depth > depthLimit) {
      throw new StowageError("body_invalid", { reason: `it is nested more than ${depthLimit} deep` });
    }
  }
}
