import { StowageError } from "../errors.ts";
import type { PolicyName } from "../experts/policies/policies.ts";
import { loadNative } from "../ggml/library.ts";
import { measureDiskRate } from "../workload/disk-rate.ts";
import { machineInfo } from "../workload/machine.ts";
import { type ReplaySamples, Side } from "../workload/side.ts";
import type { MemoryAmount } from "./arguments.ts";
import { type ExpertsModel, expertBudget, planExperts } from "./expert-budget.ts";
import { checksOf, type Measurement, plotsOf, rowsOf } from "./lab-engine-report.ts";
import { type Stream, streamsFor } from "./lab-engine-streams.ts";
import type { Measured } from "./report-action.ts";

export interface PoliciesOptions {
  readonly modelPath: string;
  /** On all that a process takes; not looked at where the experts' own budget is given. */
  readonly memory: MemoryAmount;
  readonly expertMemory?: number | string;
  readonly policies: readonly PolicyName[];
  readonly rounds: number;
  /** Decode steps before those that are measured, and those. */
  readonly settling: number;
  readonly steps: number;
  readonly threads: number;
  /** Told what is being done. */
  readonly note: (text: string) => void;
}

/** Longest sequence, tokens. */
const contextTokens = 1024;

const ownSide = new URL(
  import.meta.url.endsWith(".ts") ? "stowage-side.ts" : "stowage-side.js",
  import.meta.url,
);

/**
 * Measures every policy on the engine: the same given tokens, the same budget of experts, reads from the disk. Each policy
 * has a fresh process in each round: it learns from the first streams, and is measured on the last. One process lives at
 * a time, and their order changes from round to round.
 * @throws StowageError bench_experts, side_failed, and those of loading a model
 */
export async function measurePolicies(options: PoliciesOptions): Promise<Measured> {
  const { policies, rounds, settling, steps, threads, note } = options;
  const model = await planExperts(options.modelPath, threads, contextTokens);
  const expertMemory = budgetOf(options, model);
  const disk = await measureDiskRate(model.path, { readBytes: model.recordBytes, mostMs: 800 });
  const streams = await streamsFor(model, { settling, steps, threads, expertMemory });
  const measurements: Measurement[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const policy of inOrder(policies, round)) {
      note(`round ${round} of ${rounds}: ${policy}`);
      const side = await Side.start(ownSide, {
        modelPath: model.path,
        threads,
        contextTokens: model.contextTokens,
        sequences: 1,
        expertMemory,
        expertPolicy: policy,
      });
      try {
        await replayAll(side, streams.settling);
        measurements.push({ policy, round, samples: await replayAll(side, streams.measured) });
      } finally {
        await side.stop();
      }
    }
  }
  return {
    report: {
      machine: machineInfo(loadNative().version),
      settings: {
        model: model.path,
        file_bytes: model.fileBytes,
        expert_bytes: model.expertBytes,
        expert_budget_bytes: expertMemory,
        expert_budget_percent: Math.round((expertMemory / model.expertBytes) * 1000) / 10,
        record_bytes: model.recordBytes,
        disk_mb_per_s: Math.round(disk.bytesPerSecond / 1e6),
        disk_unbuffered: disk.unbuffered,
        threads,
        rounds,
        settling_steps: settling,
        measured_steps: steps,
        tokens: streams.kind,
      },
      results: rowsOf(policies, measurements),
      checks: checksOf(policies, measurements),
    },
    plots: plotsOf(policies, measurements),
  };
}

/** @throws StowageError bench_experts when all experts fit: then no policy has anything to decide */
function budgetOf({ memory, expertMemory }: PoliciesOptions, model: ExpertsModel): number {
  const { path, fileBytes, expertBytes } = model;
  const budget =
    typeof expertMemory === "string"
      ? Math.floor((Number.parseFloat(expertMemory) / 100) * expertBytes)
      : (expertMemory ?? expertBudget(model, "share" in memory ? memory.share * fileBytes : memory.bytes));
  if (budget < expertBytes) return Math.floor(budget);
  throw new StowageError("bench_experts", { path, reason: "all of them fit into this memory" });
}

/** Nobody is always behind the same one, or always first. */
function inOrder(policies: readonly PolicyName[], round: number): readonly PolicyName[] {
  const start = Math.floor(((round - 1) * policies.length) / 3) % policies.length;
  const turned = [...policies.slice(start), ...policies.slice(0, start)];
  return round % 2 === 1 ? turned : turned.reverse();
}

async function replayAll(side: Side, streams: readonly Stream[]): Promise<ReplaySamples[]> {
  const samples: ReplaySamples[] = [];
  for (const { prompt, forced } of streams) samples.push(await side.replay(prompt, forced));
  return samples;
}
