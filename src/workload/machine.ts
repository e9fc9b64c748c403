import { arch, availableParallelism, cpus, release, totalmem, type } from "node:os";

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
