import { arch, availableParallelism, cpus, freemem, release, totalmem, type } from "node:os";

/** The machine that a measurement ran on. */
export interface Machine {
  /** Model name of the processor. */
  readonly cpu: string;
  /** Processors that this process may use. */
  readonly cores: number;
  /** Memory that this process may use: of the machine, or of its container where that has less. */
  readonly memoryBytes: number;
  /** Operating system, its release and the architecture. */
  readonly os: string;
  readonly node: string;
  /** Version of ggml; null where the measurement did not load it. */
  readonly ggml: string | null;
}

/** Describes this machine. `ggml` is the version of the library in use. */
export function machineInfo(ggml: string | null = null): Machine {
  const limit = process.constrainedMemory();
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: limit > 0 ? Math.min(limit, totalmem()) : totalmem(),
    os: `${type()} ${release()} ${arch()}`,
    node: process.versions.node,
    ggml,
  };
}

/** Memory that a new process can have. */
export interface FreeMemory {
  readonly bytes: number;
  /** What sets it: the machine's free memory, droppable caches included, or the limit of this process's control group. */
  readonly from: "machine" | "group";
}

/** What is free now. Of a control group the limit is taken, as if nothing but the new process were in it. */
export function freeMemory(): FreeMemory {
  const limit = process.constrainedMemory();
  const free = freemem();
  return limit > 0 && limit < free ? { bytes: limit, from: "group" } : { bytes: free, from: "machine" };
}
