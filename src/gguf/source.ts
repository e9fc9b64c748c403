import { constants } from "node:fs";
import { open, stat } from "node:fs/promises";
import { StowageError } from "../errors.ts";
import { fault, reasonOf } from "./fault.ts";

/** Bytes at known offsets: a file, or memory in its place. The parser reads through this alone. */
export interface ByteSource {
  /** Named in errors. */
  readonly path: string;
  /** Bytes in all; a safe integer. */
  readonly size: number;
  /** Fills all of `target` with the bytes from `position` on. The caller stays within `size`. */
  read(target: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a regular file for reading.
 *
 * @throws `gguf_unreadable` when the file is missing, is no regular file or may not be read.
 */
export async function openFileSource(path: string): Promise<ByteSource> {
  try {
    const { size } = await regularFile(path);
    // Without O_NONBLOCK a pipe put in the file's place after the check would block a thread for ever.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return {
      path,
      size,
      async read(target, position) {
        let filled = 0;
        while (filled < target.length) {
          const at = position + filled;
          const { bytesRead } = await handle.read(target, filled, target.length - filled, at);
          if (bytesRead === 0) {
            throw fault(
              "gguf_truncated",
              path,
              "the header",
              `the bytes at ${at}`,
              "the file shrank while it was read",
            );
          }
          filled += bytesRead;
        }
      },
      close: () => handle.close(),
    };
  } catch (error) {
    if (error instanceof StowageError) throw error;
    throw new StowageError("gguf_unreadable", { path, reason: reasonOf(error) }, { cause: error });
  }
}

async function regularFile(path: string): Promise<{ size: number }> {
  const stats = await stat(path);
  if (!stats.isFile())
    throw new StowageError("gguf_unreadable", { path, reason: "it is not a regular file" });
  if (!Number.isSafeInteger(stats.size)) {
    const reason = `its size of ${stats.size} bytes is above ${Number.MAX_SAFE_INTEGER}`;
    throw new StowageError("gguf_unreadable", { path, reason });
  }
  return stats;
}

/** The bytes in `bytes`, as if they were the file at `path`. */
export function memorySource(path: string, bytes: Uint8Array): ByteSource {
  return {
    path,
    size: bytes.length,
    async read(target, position) {
      target.set(bytes.subarray(position, position + target.length));
    },
    async close() {},
  };
}
