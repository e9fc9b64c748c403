import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

/** Runs the `stowage` command to its end, in the folder `cwd`, with the variables `env` beside those of this process. */
export function stowage(args: readonly string[], cwd = process.cwd(), env: Record<string, string> = {}) {
  return spawnSync(process.execPath, [main, ...args], {
    encoding: "utf8",
    cwd,
    env: { ...process.env, ...env },
  });
}
