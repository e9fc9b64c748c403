/** `stowage bench engine`: the engine beside llama.cpp, on the same file and threads. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { wholeNumber } from "./arguments.ts";
import { measureEngine } from "./bench-engine-measure.ts";
import { measureSpeculation } from "./bench-speculate.ts";
import { note, reportAction } from "./report-action.ts";

interface Flags {
  readonly model: string;
  readonly against: string;
  readonly threads: number;
  readonly rounds?: number;
  readonly speculate?: true;
  readonly device?: string;
}

export function register(command: Command): void {
  command
    .requiredOption("--model <file>", "the GGUF file that both sides load")
    .addOption(
      command.createOption("--against <peer>", "the other side").choices(["llama.cpp"]).default("llama.cpp"),
    )
    .addOption(
      command
        .createOption("--threads <count>", "compute threads of both sides")
        .argParser(wholeNumber(1))
        .default(availableParallelism()),
    )
    .addOption(
      command
        .createOption("--rounds <count>", "fresh processes of both sides, measured in turns")
        .argParser(wholeNumber(1))
        .default(undefined, "5; 3 of a model whose steps are slow; 12 with --speculate"),
    )
    .option("--speculate", "the engine with drafts beside itself without, instead of llama.cpp")
    .addOption(
      command
        .createOption(
          "--device <name>",
          "device on which our side computes; the other computes on the processor",
        )
        .conflicts("speculate"),
    );
  reportAction(command, ({ model, threads, rounds, speculate, device }: Flags) => {
    const options = { modelPath: model, threads, note, ...(rounds !== undefined && { rounds }) };
    if (speculate) return measureSpeculation(options);
    return measureEngine({ ...options, ...(device !== undefined && { device }) });
  });
}
