/** `stowage prepare`: the experts of a model as records that are read straight into memory. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { StowageError } from "../errors.ts";
import { allRecordBytes } from "../experts/layout.ts";
import { type Prepared, prepare } from "../experts/prepare.ts";
import { preparedPath } from "../experts/prepared-file.ts";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { requireArchitecture } from "../gguf/metadata.ts";
import { openGguf } from "../gguf/read.ts";
import { planExpertRecords } from "../model/expert-records.ts";
import { familyOf } from "../model/families.ts";
import { planWeights } from "../model/layout.ts";
import { formatBytes } from "../workload/format.ts";
import { wholeNumber } from "./arguments.ts";
import { formatError } from "./failure.ts";
import { Interrupts, interruptedCode } from "./interrupts.ts";
import { Progress } from "./progress.ts";

interface Flags {
  readonly force?: boolean;
  readonly threads: number;
  readonly json?: true;
}

export function register(command: Command): void {
  command
    .argument("<model>", "a GGUF file, or the first of several")
    .option("--force", "write it anew, also where there is a good one")
    .addOption(
      command
        .createOption("--threads <count>", "records that are converted at once")
        .argParser(wholeNumber(1))
        .default(availableParallelism()),
    )
    .option("--json", "print what was written as one JSON object")
    .action(prepareModel);
}

async function prepareModel(path: string, { force = false, threads, json }: Flags): Promise<void> {
  const started = performance.now();
  const abort = new AbortController();
  const interrupts = new Interrupts(() => abort.abort());
  let [done, total] = [0, 0];
  let progress: Progress | undefined;
  const backend = new Backend(loadNative(), { threads });
  try {
    const file = await openGguf(path);
    const family = familyOf(requireArchitecture(file.metadata));
    const layout = planExpertRecords(planWeights(file, family, backend));
    if (!layout) throw new StowageError("prepare_dense", { path });
    total = allRecordBytes(layout);
    const prepared = await prepare(file, layout, backend, {
      force,
      signal: abort.signal,
      progress: (bytes) => {
        progress ??= new Progress({ label: `Preparing ${path}`, total, unit: "bytes" });
        progress.update(bytes);
        done = bytes;
      },
    });
    progress?.finish();
    const seconds = (performance.now() - started) / 1000;
    const rate = Math.round((prepared.bytes * prepared.written) / prepared.records / seconds);
    process.stdout.write(
      json ? `${JSON.stringify({ ...prepared, seconds, rate })}\n` : sentence(prepared, seconds),
    );
  } catch (error) {
    progress?.finish();
    if (error !== abort.signal.reason) throw error;
    const interrupted = {
      path: preparedPath(path),
      done: formatBytes(done),
      total: formatBytes(total),
    };
    process.stderr.write(formatError(new StowageError("prepare_interrupted", interrupted)));
    process.exitCode = interruptedCode;
  } finally {
    interrupts.dispose();
    backend.dispose();
  }
}

function sentence({ path, bytes, records, written }: Prepared, seconds: number): string {
  if (written === 0) return `${path} is there already: ${formatBytes(bytes)}, ${records} records\n`;
  const earlier = records - written;
  const resumed = earlier > 0 ? `, ${earlier} of them by an earlier run` : "";
  const rate = formatBytes((bytes * written) / records / seconds);
  return `wrote ${path}: ${formatBytes(bytes)}, ${records} records${resumed}, in ${seconds.toFixed(1)} s (${rate}/s)\n`;
}
