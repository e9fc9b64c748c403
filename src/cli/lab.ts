/** `stowage lab …`: one subcommand, and one file `lab-*.ts`, for each question to a model's behaviour. */
import type { Command } from "commander";
import { addCommands, type CommandEntry } from "./commands.ts";

const entries: readonly CommandEntry[] = [
  {
    name: "locality",
    summary: "whether neighbouring tokens share experts, and so whether offloading suits a model",
    load: () => import("./lab-locality.ts"),
  },
  {
    name: "lossy",
    summary: "what lossy modes gain in speed, and what they cost in perplexity",
    load: () => import("./lab-lossy.ts"),
  },
  {
    name: "sensitivity",
    summary: "what a low-precision copy of each expert costs, for the lossy mode edgemoe",
    load: () => import("./lab-sensitivity.ts"),
  },
  {
    name: "experts",
    summary: "every policy on the same routing: hits, reads, waiting, and how far from what could be had",
    load: () => import("./lab-experts.ts"),
  },
  {
    name: "engine",
    summary: "every policy of experts on the engine itself: speed, hits, stall, with real reads",
    load: () => import("./lab-engine.ts"),
  },
];

/** Adds the questions. Each file registers its flags and hands its measurement to `reportAction`. */
export async function register(command: Command, argv: readonly string[]): Promise<void> {
  await addCommands(command, entries, argv);
}
