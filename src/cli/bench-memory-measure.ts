import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { StowageError } from "../errors.ts";
import type { ModelSettings } from "../gateway/options.ts";
import { loadNative } from "../ggml/library.ts";
import { type SyntheticModel, writeSyntheticModel } from "../model/synth.ts";
import { machineInfo } from "../workload/machine.ts";
import { check, type Report } from "../workload/report.ts";
import { busyEngineBytes, idleEngineBytes } from "./engine-memory.ts";
import type { Measured } from "./report-action.ts";

/** How far a plan may be from what is measured, %. */
const goalPercent = 5;

const samplePath = fileURLToPath(new URL("../../models/sample-moe.gguf", import.meta.url));

const shape = { vocabulary: 32_000, context: 2048, ropeBase: 10_000, normEpsilon: 1e-5, seed: 1 };

/** The models that are made for it: the experts of the one are most of its weights, the other is used as it is mapped. */
const synthetic: Readonly<Record<"moe" | "dense", SyntheticModel>> = {
  moe: {
    ...{ ...shape, architecture: "qwen3moe", type: "Q4_0", layers: 6 },
    ...{ width: 1024, heads: 16, kvHeads: 4, headWidth: 64 },
    ...{ experts: 32, expertsUsed: 4, expertWidth: 512 },
  },
  dense: {
    ...{ ...shape, architecture: "llama", type: "Q8_0", layers: 8 },
    ...{ width: 1024, heads: 16, kvHeads: 8, headWidth: 64 },
    ...{ experts: 0, expertsUsed: 0, expertWidth: 0, feedForwardWidth: 3072 },
  },
};

interface Combination {
  readonly model: "sample" | "moe" | "dense";
  readonly context: number;
  readonly sequences: number;
  readonly expertMemory?: string;
  readonly stepTokens?: number;
}

const combinations: readonly Combination[] = [
  { model: "sample", context: 512, sequences: 1 },
  { model: "sample", context: 512, sequences: 8 },
  { model: "sample", context: 512, sequences: 32 },
  { model: "sample", context: 256, sequences: 16, expertMemory: "50%" },
  { model: "moe", context: 1024, sequences: 1 },
  { model: "moe", context: 1024, sequences: 4, stepTokens: 1024 },
  { model: "moe", context: 1024, sequences: 4, expertMemory: "50%" },
  { model: "moe", context: 512, sequences: 2, expertMemory: "25%" },
  { model: "dense", context: 1024, sequences: 1 },
  { model: "dense", context: 1024, sequences: 4 },
  { model: "dense", context: 512, sequences: 16 },
  { model: "dense", context: 2048, sequences: 2, stepTokens: 256 },
];

/**
 * For each combination, the plan (as `inspect` tells it: a plan of the model, and what an idle engine process takes) and
 * the peak of an engine process, as a server starts it, that fills the contexts of all its sequences at once.
 * @throws StowageError bench_memory where the system does not tell what a process takes
 */
export async function measureMemory(options: {
  readonly threads: number;
  readonly note: (text: string) => void;
}): Promise<Measured> {
  const { threads, note } = options;
  if (process.platform !== "linux") throw new StowageError("bench_memory", { platform: process.platform });
  const folder = await mkdtemp(join(tmpdir(), "stowage-memory-"));
  try {
    const paths = { sample: samplePath, moe: join(folder, "moe.gguf"), dense: join(folder, "dense.gguf") };
    for (const name of ["moe", "dense"] as const) {
      note(`writing a synthetic model: ${name}`);
      await writeSyntheticModel(paths[name], synthetic[name]);
    }
    const rows: Report["results"][number][] = [];
    const checks: Report["checks"][number][] = [];
    for (const combination of combinations) {
      const { model, context, sequences, expertMemory, stepTokens } = combination;
      const budget = expertMemory === undefined ? "" : `, ${expertMemory} of experts`;
      const step = stepTokens === undefined ? "" : `, ${stepTokens} a step`;
      const name = `${model}, ${context} x ${sequences}${budget}${step}`;
      note(name);
      const settings = settingsOf(combination, threads);
      const own = (await idleEngineBytes(paths[model], settings))!;
      const { planned, peak } = await busyEngineBytes(paths[model], settings);
      const error = (100 * (own + planned - peak)) / peak;
      const mebi = (bytes: number) => Math.round((bytes / 2 ** 20) * 10) / 10;
      rows.push({
        ...{ model, context, sequences },
        expert_memory: expertMemory ?? null,
        step_tokens: stepTokens ?? null,
        process_mib: mebi(own),
        model_mib: mebi(planned),
        planned_mib: mebi(own + planned),
        measured_mib: mebi(peak),
        error_percent: Math.round(error * 100) / 100,
      });
      checks.push(check(name, Math.abs(error), "%", "<=", goalPercent));
    }
    const settings = { sample: basename(samplePath), threads };
    return {
      report: { machine: machineInfo(loadNative().version), settings, results: rows, checks },
      plots: [],
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Room for the full context of every sequence, so that all are in the largest steps together. */
function settingsOf(
  { context, sequences, expertMemory, stepTokens }: Combination,
  threads: number,
): Partial<ModelSettings> {
  return {
    ...{ threads, contextTokens: context, maxSequences: sequences, kvTokens: context * sequences },
    ...(expertMemory !== undefined && { expertMemory }),
    ...(stepTokens !== undefined && { stepTokens }),
  };
}
