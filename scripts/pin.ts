/**
 * Binds a process to one processor. Node has no call for it, so util-linux's `taskset` does it, before the process starts
 * threads that compute; the processes that it starts inherit it, and `availableParallelism()` is 1 in all of them.
 */
import { spawnSync } from "node:child_process";

/** Whether processes can be bound here. */
export function canPin(): boolean {
  return process.platform === "linux" && spawnSync("taskset", ["--version"]).status === 0;
}

/** Numbers of the processors that this process may use. */
export function processors(): number[] {
  const { stdout } = spawnSync("taskset", ["-cp", `${process.pid}`], { encoding: "utf8" });
  const list = stdout.slice(stdout.lastIndexOf(":") + 1).trim();
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** A module to preload with `--import`: it binds its process to a processor. */
export function pinTo(processor: number): string {
  const code = `import { spawnSync } from "node:child_process";
    spawnSync("taskset", ["-acp", "${processor}", String(process.pid)]);`;
  return `data:text/javascript,${encodeURIComponent(code)}`;
}
