import { resolve } from "node:path";
import { checkDeviceOptions } from "../engine/device-memory.ts";
import type { EngineLimits } from "../engine/engine.ts";
import { type FitOptions, ModelFit } from "../engine/fit.ts";
import type { MemoryPlan } from "../engine/memory-plan.ts";
import { StowageError } from "../errors.ts";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { requireArchitecture } from "../gguf/metadata.ts";
import { openGguf } from "../gguf/read.ts";
import { familyOf } from "../model/families.ts";
import { freeMemory, type Machine, machineInfo } from "../workload/machine.ts";
import { idleEngineBytes } from "./engine-memory.ts";

/** What is known of a model's memory before it is loaded. Bytes. */
export interface Inspection {
  readonly machine: Machine;
  readonly model: {
    readonly path: string;
    readonly architecture: string;
    readonly layers: number;
    readonly experts: number;
    readonly expertsUsed: number;
    readonly contextTrained: number;
    readonly expertBytes: number;
  };
  readonly sizes: EngineLimits & { readonly kvTokens: number };
  /** By kind; `process` is what an engine's process takes itself, measured, where the system tells. */
  readonly memory: MemoryPlan & { readonly process: number | undefined };
  /** The plan's total and the process. */
  readonly total: number;
  /** What there is for that total, and who says so. */
  readonly room: { readonly bytes: number; readonly from: "machine" | "group" | "flag" };
  readonly fits: boolean;
  /** Totals where every sequence has room for its whole context. */
  readonly byContext: readonly {
    readonly context: number;
    readonly sequences: number;
    readonly total: number;
  }[];
  /** Totals at the sizes above; empty for a dense model. `bytes`: what the slots take. */
  readonly byExpertMemory: readonly {
    readonly share: number;
    readonly bytes: number;
    readonly total: number;
  }[];
  readonly advice: {
    /** With the given sequences, each full; 0 where none fits. */
    readonly longestContext: number;
    /** With the given context, each full; 0 where none fits. */
    readonly mostSequences: number;
    /** Undefined of a dense model, and where no budget fits. */
    readonly mostExpertMemory: number | undefined;
    /** `dense` also where they are on a device. */
    readonly experts: "dense" | "all fit" | "some fit" | "none fit";
  };
}

/** The kinds of memory, in the words of people. */
export const kindNames: Readonly<
  Record<keyof Omit<MemoryPlan, "total" | "device" | "deviceKv" | "kvCells">, string>
> = {
  mappedWeights: "weights, used in the mapped file",
  convertedWeights: "weights, converted for the kernels",
  adapters: "adapters",
  experts: "experts, in slots",
  kv: "KV cache",
  compute: "activations of a step",
  work: "work memory of the kernels",
};

/** What the room is, in words. */
export function roomName(from: Inspection["room"]["from"]): string {
  return {
    machine: "free on this machine",
    group: "limit of this control group",
    flag: "as --memory says",
  }[from];
}

const sequenceCounts = [1, 4, 8, 16, 32];
const shares = [1, 0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
/** Contexts of the table: the longest, and its halves. */
const contextSteps = 8;
const leastContext = 256;

/**
 * Plans a model at its own sizes and at others, and measures what an engine's process takes by itself. Reads the
 * header and the vocabulary, no weights.
 * @param options.memory bytes that the model may take without the process; default: what this machine has free
 * @throws StowageError gguf_*, model_*, native_*, load_option, expert_memory
 */
export async function inspectModel(
  path: string,
  options: FitOptions & { readonly memory?: number },
): Promise<Inspection> {
  const { memory: given, ...sizes } = options;
  checkDeviceOptions(sizes);
  const file = await openGguf(path);
  const native = loadNative();
  const backend = new Backend(native, { threads: 1 });
  try {
    const fit = new ModelFit(file, familyOf(requireArchitecture(file.metadata)), backend);
    const { memory, limits } = fit.plan(sizes);
    const own = await idleEngineBytes(resolve(path), { ...limits, threads: 1 });
    const base = own ?? 0;
    const free = freeMemory();
    const room = given === undefined ? free : ({ bytes: given + base, from: "flag" } as const);
    const left = room.bytes - base;
    const { architecture, layers, experts, expertsUsed, contextTrained } = fit.hyperparameters;
    const contexts = contextsUpTo(contextTrained);
    // The experts of layers on a device are all in its memory.
    const expertBytes = sizes.device === undefined ? fit.expertBytes : 0;
    const mostExpertMemory = expertBytes > 0 ? fit.mostExpertMemory(sizes, left) : undefined;
    return {
      machine: machineInfo(native.version),
      model: {
        ...{ path, architecture, layers, experts, expertsUsed, contextTrained },
        expertBytes,
      },
      sizes: { ...limits, kvTokens: memory.kvCells },
      memory: { ...memory, process: own },
      total: base + memory.total,
      room,
      fits: memory.total <= left,
      byContext: contexts.flatMap((context) =>
        sequenceCounts.map((sequences) => ({
          ...{ context, sequences },
          total: base + fit.withFullContexts(sizes, context, sequences),
        })),
      ),
      byExpertMemory: expertBytes > 0 ? byExpertMemory(fit, sizes, base) : [],
      advice: {
        longestContext: fit.longestContext(sizes, limits.maxSequences, left),
        mostSequences: fit.mostSequences(sizes, limits.contextTokens, left),
        mostExpertMemory,
        experts: adviceOn(expertBytes, mostExpertMemory),
      },
    };
  } finally {
    backend.dispose();
  }
}

/** Shares that are too small for the experts of a token are left out. */
function byExpertMemory(fit: ModelFit, sizes: FitOptions, base: number): Inspection["byExpertMemory"] {
  return shares.flatMap((share) => {
    try {
      const expertMemory = Math.ceil(share * fit.expertBytes);
      const { memory } = fit.plan({ ...sizes, expertMemory });
      return [{ share, bytes: share === 1 ? fit.expertBytes : memory.experts, total: base + memory.total }];
    } catch (error) {
      if (error instanceof StowageError && error.code === "expert_memory") return [];
      throw error;
    }
  });
}

function adviceOn(all: number, most: number | undefined): Inspection["advice"]["experts"] {
  if (all === 0) return "dense";
  if (most === undefined) return "none fit";
  return most === all ? "all fit" : "some fit";
}

function contextsUpTo(longest: number): number[] {
  const halves = Array.from({ length: contextSteps }, (_, step) => Math.floor(longest / 2 ** step));
  return halves.filter((context, index) => index === 0 || context >= leastContext).reverse();
}
