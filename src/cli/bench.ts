/** `stowage bench …`: one subcommand, and one file `bench-*.ts`, for each benchmark. */
import type { Command } from "commander";
import { addCommands, type CommandEntry } from "./commands.ts";

const entries: readonly CommandEntry[] = [
  { name: "engine", summary: "the engine beside llama.cpp", load: () => import("./bench-engine.ts") },
  {
    name: "experts",
    summary: "a mixture of experts under a real memory limit, beside llama.cpp",
    load: () => import("./bench-experts.ts"),
  },
  {
    name: "gateway",
    summary: "what the server costs beside the engine itself, and how many streams it holds",
    load: () => import("./bench-gateway.ts"),
  },
  {
    name: "memory",
    summary: "what models are planned to take beside what they take",
    load: () => import("./bench-memory.ts"),
  },
  {
    name: "serve",
    summary: "a server under load: any that speaks the OpenAI API",
    load: () => import("./bench-serve.ts"),
  },
];

/** Adds the benchmarks. Each file registers its flags and hands its measurement to `reportAction`. */
export async function register(command: Command, argv: readonly string[]): Promise<void> {
  await addCommands(command, entries, argv);
}
