import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { cpus, homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { StowageError } from "../errors.ts";

/**
 * Runs a small graph on the library in `directory` in a child process, so that a binary that this processor
 * cannot run ends the child and not the caller. A library that passed is remembered, by its files' sizes and
 * times and the processor, under the user's cache folder: later starts pay nothing.
 * @throws StowageError native_probe_failed
 */
export function probeLibrary(directory: string): void {
  const stamp = stampPath(directory);
  if (stamp && existsSync(stamp)) return;
  const script = fileURLToPath(import.meta.url).replace(/probe\.(ts|js)$/, "probe-child.$1");
  const child = spawnSync(process.execPath, [script, directory], { encoding: "utf8", timeout: 60_000 });
  if (child.status !== 0) {
    const lastLine = (child.stderr ?? "").trim().split("\n").at(-1) ?? "";
    const ending = child.signal ? `ended by ${child.signal}` : `exit code ${child.status}`;
    throw new StowageError("native_probe_failed", { path: directory, reason: `${ending}. ${lastLine}` });
  }
  if (stamp) writeStamp(stamp);
}

function stampPath(directory: string): string | undefined {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const identity = createHash("sha256")
    .update(cpus()[0]?.model ?? "")
    .update(process.versions.modules);
  for (const name of readdirSync(directory).sort()) {
    const { size, mtimeMs } = statSync(join(directory, name));
    identity.update(`${directory}/${name}:${size}:${mtimeMs};`);
  }
  return join(cache, "stowage", `probe-${identity.digest("hex").slice(0, 16)}`);
}

/** A cache folder that cannot be written only costs the trial run of every start. */
function writeStamp(stamp: string): void {
  try {
    mkdirSync(join(stamp, ".."), { recursive: true });
    writeFileSync(stamp, "");
  } catch {}
}
