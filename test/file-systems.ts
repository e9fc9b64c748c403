import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Runs `use` with a file system of its own, which takes root's rights.
 * @param options of `mount`
 * @returns why it could not be had; undefined when `use` has run
 */
export async function withFileSystem(
  type: string,
  options: string,
  use: (folder: string) => Promise<void>,
): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), `stowage-${type}-`));
  try {
    const flags = options === "" ? [] : ["-o", options];
    const { status, stderr, error } = spawnSync("mount", ["-t", type, ...flags, type, folder]);
    if (status !== 0) return `no ${type} could be mounted: ${error?.message ?? String(stderr).trim()}`;
    try {
      await use(folder);
    } finally {
      spawnSync("umount", ["-l", folder]);
    }
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
