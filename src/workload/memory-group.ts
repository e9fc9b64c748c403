import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StowageError } from "../errors.ts";

/** Where memory control groups are made, and by which of the two interfaces of Linux. */
export interface GroupRoot {
  readonly path: string;
  readonly version: 1 | 2;
}

/** What the processes of a group take and took, bytes. */
export interface GroupUsage {
  /** The most so far, page cache included; null where the kernel does not tell. */
  readonly peakBytes: number | null;
  readonly currentBytes: number;
  /** Of those now: memory that is no file's. */
  readonly anonymousBytes: number;
  /** Of those now: the page cache, mapped files included. */
  readonly cacheBytes: number;
  /** Processes that the kernel ended because the limit left no room. */
  readonly kills: number;
}

/** The names of the files in which a group keeps the same things. */
const files = {
  1: {
    limit: "memory.limit_in_bytes",
    swapLimit: "memory.memsw.limit_in_bytes",
    current: "memory.usage_in_bytes",
    peak: "memory.max_usage_in_bytes",
    events: "memory.oom_control",
    anonymous: "total_rss",
    cache: "total_cache",
  },
  2: {
    limit: "memory.max",
    swapLimit: "memory.swap.max",
    current: "memory.current",
    peak: "memory.peak",
    events: "memory.events",
    anonymous: "anon",
    cache: "file",
  },
} as const;

/** How often, and how far apart in ms, it is looked whether the ended processes of a group have left it. */
const removal = { tries: 100, pauseMs: 50 };

let made = 0;
const groups = new Set<MemoryGroup>();

/**
 * A memory control group: a real limit on all that the processes in it take, their page cache included. A page of a
 * file counts for the group whose process touched it first: drop the page cache before, see `dropPageCache`. Nothing
 * is swapped out. Linux and root only.
 */
export class MemoryGroup {
  readonly limitBytes: number;
  readonly path: string;
  readonly #version: 1 | 2;

  /**
   * Makes an empty group.
   * @param root where; by default where this system has them
   * @throws StowageError memory_group when there are no such groups here, or this user may not make one
   */
  static async create(limitBytes: number, root: GroupRoot = findGroupRoot()): Promise<MemoryGroup> {
    await removeAbandoned(root.path);
    const path = join(root.path, `stowage-${process.pid}-${++made}`);
    const group = new MemoryGroup(path, root.version, limitBytes);
    groups.add(group);
    try {
      await mkdir(path);
    } catch (cause) {
      groups.delete(group);
      throw refusal(`${path} cannot be made (${(cause as NodeJS.ErrnoException).code})`, cause);
    }
    try {
      await group.#limit();
    } catch (cause) {
      await group.remove();
      throw refusal(`${path} takes no limit (${(cause as Error).message})`, cause);
    }
    return group;
  }

  /** Removes every group of this process: for a command that is interrupted. */
  static async removeAll(): Promise<void> {
    await Promise.all([...groups].map((group) => group.remove()));
  }

  private constructor(path: string, version: 1 | 2, limitBytes: number) {
    this.path = path;
    this.#version = version;
    this.limitBytes = limitBytes;
  }

  /**
   * The command that runs `command` inside: a shell enters the group and becomes the program, which has allocated
   * and mapped nothing by then.
   */
  wrap(command: readonly string[]): [string, ...string[]] {
    return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', join(this.path, "cgroup.procs"), ...command];
  }

  async usage(): Promise<GroupUsage> {
    const names = files[this.#version];
    const [stat, events, current] = await Promise.all([
      this.#table("memory.stat"),
      this.#table(names.events),
      this.#read(names.current),
    ]);
    const peakBytes = await this.#read(names.peak).then(Number, () => null);
    return {
      peakBytes,
      currentBytes: Number(current),
      anonymousBytes: stat.get(names.anonymous) ?? 0,
      cacheBytes: stat.get(names.cache) ?? 0,
      kills: events.get("oom_kill") ?? 0,
    };
  }

  /** Ends the processes that are still inside, gives back the page cache that they left, and removes the group. */
  async remove(): Promise<void> {
    groups.delete(this);
    for (let left = removal.tries; ; left--) {
      const inside = await this.#read("cgroup.procs").catch(() => "");
      for (const id of inside.split("\n").filter(Boolean)) end(Number(id));
      // Only the older interface has it; by the newer one the pages go to the group above.
      if (!inside && this.#version === 1) await this.#write("memory.force_empty", "0").catch(() => {});
      try {
        return await rmdir(this.path);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === "ENOENT") return;
        if (code !== "EBUSY" || left === 0) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, removal.pauseMs));
    }
  }

  async #limit(): Promise<void> {
    const { limit, swapLimit } = files[this.#version];
    await this.#write(limit, String(this.limitBytes));
    // The older interface limits memory and swap together; a kernel without swap has neither file.
    const swap = this.#version === 1 ? String(this.limitBytes) : "0";
    if (existsSync(join(this.path, swapLimit))) await this.#write(swapLimit, swap);
  }

  /** A file of lines "name number". */
  async #table(name: string): Promise<Map<string, number>> {
    const lines = (await this.#read(name)).split("\n").map((line) => line.split(" "));
    return new Map(lines.map(([key, value]) => [key!, Number(value)]));
  }

  async #read(name: string): Promise<string> {
    return (await readFile(join(this.path, name), "utf8")).trim();
  }

  #write(name: string, text: string): Promise<void> {
    return writeFile(join(this.path, name), text);
  }
}

/**
 * Finds where groups with a memory limit can be made: at the top of what this process sees of them.
 * @param mounts the text of `/proc/self/mountinfo`
 * @throws StowageError memory_group
 */
export function findGroupRoot(mounts = readMounts()): GroupRoot {
  const lines = mounts.split("\n").map((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [type, , options = ""] = after.split(" ");
    return { path: before.split(" ")[4] ?? "", type, options: options.split(",") };
  });
  const older = lines.find(({ type, options }) => type === "cgroup" && options.includes("memory"));
  if (older) return { path: older.path, version: 1 };
  const newer = lines.find(({ type }) => type === "cgroup2");
  if (!newer) throw refusal("no control groups with a memory limit are mounted here");
  if (!enabled(newer.path, "cgroup.controllers")) {
    throw refusal(`the control groups at ${newer.path} have no memory limits`);
  }
  if (!enabled(newer.path, "cgroup.subtree_control")) {
    throw refusal(
      `memory limits are not switched on below ${newer.path}: "+memory" has to be written to its cgroup.subtree_control`,
    );
  }
  return { path: newer.path, version: 2 };
}

function enabled(path: string, list: string): boolean {
  return readFileSync(join(path, list), "utf8").trim().split(" ").includes("memory");
}

function readMounts(): string {
  try {
    return readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    throw refusal("only Linux has memory control groups");
  }
}

/** Who is inside was started by us: nothing else knows the group. One that has ended by itself is no failure. */
function end(id: number): void {
  try {
    process.kill(id, "SIGKILL");
  } catch {}
}

function refusal(reason: string, cause?: unknown): StowageError {
  return new StowageError("memory_group", { reason }, { cause });
}

/** Empty groups of processes that were ended before they could remove them. One that is not empty stays. */
async function removeAbandoned(root: string): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    const [, pid] = /^stowage-(\d+)-\d+$/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await rmdir(join(root, name)).catch(() => {});
  }
}
