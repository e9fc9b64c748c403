import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { StowageError } from "../errors.ts";

/** How fast a file is read from its disk. */
export interface DiskRate {
  readonly readBytes: number;
  /** Whether the page cache was bypassed; where the file system cannot, the rates are those of buffered reads. */
  readonly unbuffered: boolean;
  /** By reads in flight at once, bytes a second. */
  readonly rates: readonly { readonly depth: number; readonly bytesPerSecond: number }[];
  /** The best of them. */
  readonly bytesPerSecond: number;
}

export interface DiskRateOptions {
  /** Bytes of a read, a multiple of 4096. */
  readonly readBytes: number;
  /** Reads in flight at once, of each measurement. */
  readonly depths?: readonly number[];
  /** A measurement ends after so many bytes, or after so many milliseconds. */
  readonly mostBytes?: number;
  readonly mostMs?: number;
}

/** What the measuring process is told. */
export type DiskTask = Required<DiskRateOptions> & { readonly path: string };

const defaults = { depths: [1, 2, 4, 8, 16], mostBytes: 2 ** 30, mostMs: 1500 };

/**
 * Measures reads of one size at random places of a file, past the page cache, at several queue depths, in a process
 * of its own: as many threads have to wait for the disk at once as reads are in flight.
 * @throws StowageError side_failed when the file cannot be read, or is shorter than a read
 */
export async function measureDiskRate(path: string, options: DiskRateOptions): Promise<DiskRate> {
  const task: DiskTask = { ...defaults, ...options, path };
  const script = import.meta.url.endsWith(".ts") ? "disk-rate-child.ts" : "disk-rate-child.js";
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), [JSON.stringify(task)], {
    env: { ...process.env, UV_THREADPOOL_SIZE: String(Math.max(4, ...task.depths)) },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const settled = new AbortController();
  const { signal } = settled;
  try {
    const found = await Promise.race([
      once(child, "message", { signal }).then(([message]) => message as DiskRate | { error: string }),
      once(child, "exit", { signal }).then(([code]) => ({ error: `the process ended (exit code ${code}).` })),
    ]);
    if ("error" in found) throw new StowageError("side_failed", { task: "disk rate", reason: found.error });
    return found;
  } finally {
    settled.abort();
    child.kill("SIGKILL");
  }
}
