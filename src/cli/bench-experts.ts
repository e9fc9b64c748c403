/** `stowage bench experts`: a mixture of experts under a real memory limit, ours beside llama.cpp. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { MemoryGroup } from "../workload/memory-group.ts";
import { type MemoryAmount, parseMemoryAmount, wholeNumber } from "./arguments.ts";
import { measureExperts } from "./bench-experts-measure.ts";
import { note, reportAction } from "./report-action.ts";

interface Flags {
  readonly model: string;
  readonly memory: MemoryAmount;
  readonly against: string;
  readonly threads: number;
  readonly rounds: number;
  readonly curve?: boolean;
}

export function register(command: Command): void {
  command
    .requiredOption(
      "--model <file>",
      "a GGUF file; measured are random weights of its shape, with uniform and with local routing, beside it",
    )
    .addOption(
      command
        .createOption("--memory <amount>", "limit on all that a side takes: a share of the file, or bytes")
        .argParser(parseMemoryAmount)
        .default({ share: 0.6 }, "60%"),
    )
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
        .createOption("--rounds <count>", "fresh processes of both sides, one after the other")
        .argParser(wholeNumber(1))
        .default(3),
    )
    .option("--curve", "measure limits from 30% to 100% of the file too");
  reportAction(command, async ({ model, memory, threads, rounds, curve = false }: Flags) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupted);
    return measureExperts({ modelPath: model, memory, threads, rounds, curve, note });
  });
}

/** Groups outlive the process that made them: they are removed first. */
async function interrupted(): Promise<void> {
  await MemoryGroup.removeAll();
  process.exit(2);
}
