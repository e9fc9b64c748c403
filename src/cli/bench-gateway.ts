/** `stowage bench gateway`: what the server costs beside the engine itself, and how it holds with many streams. */
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { runWithSmallBuffers } from "../workload/small-buffers.ts";
import { wholeNumber } from "./arguments.ts";
import { measureGateway } from "./bench-gateway-measure.ts";
import { note, reportAction } from "./report-action.ts";

interface Flags {
  readonly model: string;
  readonly rounds: number;
}

const sample = fileURLToPath(new URL("../../models/sample-moe.gguf", import.meta.url));

export function register(command: Command): void {
  command
    .addOption(
      command.createOption("--model <file>", "the GGUF file to serve").default(sample, "the sample model"),
    )
    .addOption(
      command
        .createOption("--rounds <count>", "measurements of each side, in turns")
        .argParser(wholeNumber(1))
        .default(7),
    );
  command.hook("preAction", async () => {
    const code = await runWithSmallBuffers();
    if (code !== undefined) process.exit(code);
  });
  reportAction(command, ({ model, rounds }: Flags) => measureGateway({ modelPath: model, rounds, note }));
}
