/** `stowage bench memory`: what models are planned to take beside what their engine processes take. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { wholeNumber } from "./arguments.ts";
import { measureMemory } from "./bench-memory-measure.ts";
import { note, reportAction } from "./report-action.ts";

export function register(command: Command): void {
  command.addOption(
    command
      .createOption("--threads <count>", "compute threads")
      .argParser(wholeNumber(1))
      .default(availableParallelism()),
  );
  reportAction(command, ({ threads }: { readonly threads: number }) => measureMemory({ threads, note }));
}
