/** `stowage lab sensitivity`: what the low-precision copy of each expert costs, for the lossy mode `edgemoe`. */
import type { Command } from "commander";
import { planCopies } from "../engine/lossy-plan.ts";
import { StowageError } from "../errors.ts";
import { modelIdentity } from "../experts/fingerprint.ts";
import { sensitivityPath, writeSensitivity } from "../experts/lossy/sensitivity-file.ts";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { requireArchitecture } from "../gguf/metadata.ts";
import { openGguf } from "../gguf/read.ts";
import { planExpertRecords } from "../model/expert-records.ts";
import { measureSensitivity, type Sensitivities } from "../model/expert-sensitivity.ts";
import { familyOf } from "../model/families.ts";
import { readImatrix } from "../model/imatrix-file.ts";
import { planWeights } from "../model/layout.ts";
import { machineInfo } from "../workload/machine.ts";
import type { Cell } from "../workload/report.ts";
import { Progress } from "./progress.ts";
import { type Measured, reportAction } from "./report-action.ts";

interface Flags {
  readonly imatrix: string;
  readonly output?: string;
}

export function register(command: Command): void {
  command
    .argument("<model>", "a mixture of experts in GGUF format")
    .argument("<low>", "the same model, quantised lower")
    .requiredOption("--imatrix <file>", "what its experts are given, as `stowage imatrix` writes it")
    .option("--output <file>", "the table to write (default: beside the low file, with .sensitivity)");
  reportAction(command, sensitivityReport);
}

async function sensitivityReport(path: string, lowPath: string, flags: Flags): Promise<Measured> {
  const { imatrix, output = sensitivityPath(lowPath) } = flags;
  const backend = new Backend(loadNative(), { threads: 1 });
  let progress: Progress | undefined;
  try {
    const file = await openGguf(path);
    const layout = planWeights(file, familyOf(requireArchitecture(file.metadata)), backend);
    const records = planExpertRecords(layout);
    if (!records) throw new StowageError("prepare_dense", { path });
    const low = await planCopies(file, layout, records, backend, lowPath);
    const sensitivity = await measureSensitivity(file, low.file, records, await readImatrix(imatrix), {
      progress: (done, total) => {
        progress ??= new Progress({ label: "Comparing experts", total, unit: "bytes" });
        progress.update(done);
      },
    });
    await writeSensitivity(output, {
      model: await modelIdentity(file, records),
      low: await modelIdentity(low.file, low.records),
      sensitivity,
    });
    return {
      report: {
        machine: machineInfo(),
        settings: { model: path, low: lowPath, imatrix, written: output },
        results: rows(sensitivity),
        checks: [],
        notes: [
          `The table is in ${output}; --lossy edgemoe --low-experts ${lowPath} uses it with --lossy-bytes.`,
        ],
      },
      plots: [],
    };
  } finally {
    progress?.finish();
    backend.dispose();
  }
}

/** Of each layer, its share of all that low copies cost, and how that is spread over its experts. */
function rows(sensitivity: Sensitivities): Record<string, Cell>[] {
  const total = sensitivity.reduce((sum, layer) => sum + sumOf(layer ?? []), 0);
  return sensitivity.flatMap((experts, layer) => {
    if (!experts) return [];
    const sorted = [...experts].sort((a, b) => b - a);
    const half = sumOf(sorted.slice(0, Math.ceil(experts.length / 2)));
    return [
      {
        layer,
        share_percent: percent(sumOf(experts), total),
        most_sensitive_expert: experts.indexOf(sorted[0]!),
        share_of_sensitive_half_percent: percent(half, sumOf(experts)),
        never_used: experts.filter((value) => value === 0).length,
      },
    ];
  });
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function percent(part: number, whole: number): number {
  return whole > 0 ? Math.round((1000 * part) / whole) / 10 : 0;
}
