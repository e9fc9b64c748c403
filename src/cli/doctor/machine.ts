/** Processors, memory, and what the system allows of them. */
import { availableParallelism, cpus, totalmem } from "node:os";
import { formatBytes } from "../../workload/format.ts";
import { type Finding, fail, ok, systemText, warn } from "./finding.ts";

const mebi = 2 ** 20;
/** Less cannot hold the program and the smallest model. */
const leastMemory = 256 * mebi;
const littleMemory = 2048 * mebi;
/** A server has a socket for each client, and a file for each shard. */
const fewFiles = 1024;
const leastFiles = 128;

/** Where facts come from; tests have others. */
export interface System {
  /** The folder in which `proc` and `sys` are. */
  readonly root: string;
  readonly processors: number;
  /** Of the control group, bytes; 0 or more than there is where there is none. */
  readonly memoryLimit: number;
  readonly totalMemory: number;
}

export function thisSystem(): System {
  return {
    root: "/",
    processors: availableParallelism(),
    memoryLimit: process.constrainedMemory(),
    totalMemory: totalmem(),
  };
}

export function checkMachine(system: System): Finding[] {
  return [
    checkProcessors(system),
    checkMemory(system),
    ...checkSwap(system),
    ...checkHugePages(system),
    ...checkOpenFiles(system),
  ];
}

function checkProcessors(system: System): Finding {
  const check = "processors";
  const { processors } = system;
  const model = cpus()[0]?.model.trim() ?? "unknown";
  const quota = processorQuota(system);
  const found = `${processors} usable, ${model}`;
  if (quota === undefined || quota >= processors) return ok(check, found);
  const threads = Math.max(1, Math.floor(quota));
  return warn(
    check,
    `${found}; the control group allows the time of ${quota.toFixed(1)}`,
    `Threads beyond that wait for each other: give --threads ${threads}, or raise the limit.`,
  );
}

/** Processors' worth of time, from the control group of this process or from the one above all. */
function processorQuota({ root }: System): number | undefined {
  const groups = systemText(root, "proc/self/cgroup") ?? "";
  const own = (pattern: RegExp) => pattern.exec(groups)?.[1] ?? "/";
  const second = own(/^0::(\S+)/m);
  const first = own(/^\d+:(?:[^:]*,)?cpu(?:,[^:]*)?:(\S+)/m);
  for (const group of new Set([second, "/"])) {
    const [quota, period] = (systemText(root, `sys/fs/cgroup${group}/cpu.max`) ?? "max").trim().split(" ");
    if (quota !== "max") return Number(quota) / Number(period);
  }
  for (const group of new Set([first, "/"])) {
    const quota = Number(systemText(root, `sys/fs/cgroup/cpu${group}/cpu.cfs_quota_us`) ?? -1);
    const period = Number(systemText(root, `sys/fs/cgroup/cpu${group}/cpu.cfs_period_us`) ?? 1);
    if (quota > 0) return quota / period;
  }
  return undefined;
}

function checkMemory(system: System): Finding {
  const check = "memory";
  const limited = system.memoryLimit > 0 && system.memoryLimit < system.totalMemory;
  const available = Math.min(memoryLine(system, "MemAvailable") ?? system.totalMemory, limitOf(system));
  const limit = limited ? `; a control group allows ${formatBytes(system.memoryLimit)}` : "";
  const found = `${formatBytes(system.totalMemory)}, ${formatBytes(available)} available${limit}`;
  const next =
    "End what else takes memory, raise the limit, or take a smaller model; --expert-memory keeps experts on the disk.";
  if (available < leastMemory) return fail(check, found, next);
  return available < littleMemory ? warn(check, found, next) : ok(check, found);
}

function limitOf({ memoryLimit, totalMemory }: System): number {
  return memoryLimit > 0 ? Math.min(memoryLimit, totalMemory) : totalMemory;
}

/** Bytes of a line of /proc/meminfo. */
function memoryLine({ root }: System, name: string): number | undefined {
  const line = new RegExp(`^${name}: +(\\d+) kB`, "m").exec(systemText(root, "proc/meminfo") ?? "");
  return line ? Number(line[1]) * 1024 : undefined;
}

function checkSwap(system: System): Finding[] {
  const total = memoryLine(system, "SwapTotal");
  if (total === undefined) return [];
  if (total === 0) return [ok("swap", "none")];
  const used = total - (memoryLine(system, "SwapFree") ?? total);
  const found = `${formatBytes(used)} of ${formatBytes(total)} used`;
  if (used < total / 10) return [ok("swap", found)];
  const next = "Memory is short: weights that were swapped out are read back far slower than a model's file.";
  return [warn("swap", found, next)];
}

function checkHugePages({ root }: System): Finding[] {
  const path = "sys/kernel/mm/transparent_hugepage/enabled";
  const chosen = /\[(\w+)\]/.exec(systemText(root, path) ?? "")?.[1];
  if (chosen === undefined) return [];
  if (chosen !== "never") return [ok("large pages", chosen)];
  const next = `As root: echo madvise > /${path}. Without them, reading experts costs more processor time.`;
  return [warn("large pages", chosen, next)];
}

function checkOpenFiles({ root }: System): Finding[] {
  const line = /^Max open files +(\S+) +(\S+)/m.exec(systemText(root, "proc/self/limits") ?? "");
  if (!line) return [];
  const [, soft, hard] = line;
  const files = soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
  const found = `${soft} at once`;
  const next = `Each client of a server takes one: ulimit -n ${hard}, or LimitNOFILE in a service's unit.`;
  if (files < leastFiles) return [fail("open files", found, next)];
  return [files < fewFiles ? warn("open files", found, next) : ok("open files", found)];
}
