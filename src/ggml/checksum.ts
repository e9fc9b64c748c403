import { crc32 as crc32OnLoop } from "node:zlib";
import koffi from "koffi";
import "./stack.ts";
import type { KoffiFunction } from "./bindings.ts";

let found: KoffiFunction | false | undefined;

/**
 * The zlib that Node carries exports its functions: its CRC-32, the one of `node:zlib`, can run on a thread of libuv's
 * pool. False where a Node does not export it.
 */
function nativeCrc32(): KoffiFunction | false {
  if (found === undefined) {
    try {
      found = koffi.load(null).func("unsigned long crc32_z(unsigned long, void*, size_t)");
    } catch {
      found = false;
    }
  }
  return found;
}

/**
 * The CRC-32 of `bytes`, off the event loop where this Node can do that: megabytes take the better part of a
 * millisecond. `bytes` must not change meanwhile.
 */
export function crc32(bytes: Uint8Array): Promise<number> {
  const native = nativeCrc32();
  if (!native) return Promise.resolve(crc32OnLoop(bytes));
  return new Promise((resolve, reject) => {
    try {
      native.async(0, bytes, bytes.length, (error: unknown, value: number | bigint) =>
        error ? reject(error) : resolve(Number(value)),
      );
    } catch {
      // koffi has a limit of calls that run at once (256).
      resolve(crc32OnLoop(bytes));
    }
  });
}
