import { open, stat, writeFile } from "node:fs/promises";
import { StowageError } from "../errors.ts";
import { MappedFile } from "../ggml/memory.ts";
import { formatBytes } from "./format.ts";

/** What may stay of a file, as a share: pages in flight cannot be dropped. */
const mayStay = 0.01;
/** A process that has just ended may still have the file mapped. */
const tries = 5;
const pauseMs = 200;

/**
 * Makes the next read of any file come from the disk. What was written to `files` is brought to the disk first, for
 * pages that are not there yet cannot be dropped. Linux and root only.
 * @throws StowageError page_cache, also when another process keeps pages of `files` by mapping them: they would count for
 *   nobody's limit
 */
export async function dropPageCache(files: readonly string[]): Promise<void> {
  for (const path of files) {
    const file = await open(path, "r");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
  for (let left = tries; ; left--) {
    try {
      await writeFile("/proc/sys/vm/drop_caches", "1");
    } catch (cause) {
      throw new StowageError("page_cache", { reason: (cause as Error).message }, { cause });
    }
    const staying = await firstStaying(files);
    if (staying === undefined) return;
    if (left === 0) throw new StowageError("page_cache", { reason: staying });
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** In words, which file is still there. */
async function firstStaying(files: readonly string[]): Promise<string | undefined> {
  for (const path of files) {
    const left = cachedBytes(path);
    const { size } = await stat(path);
    if (left > size * mayStay) {
      return `${formatBytes(left)} of ${path} stay in it, for another process uses the file`;
    }
  }
  return undefined;
}

/** Bytes of a file that are in the page cache. */
export function cachedBytes(path: string): number {
  const file = new MappedFile(path);
  try {
    return file.residentBytes();
  } finally {
    file.dispose();
  }
}
