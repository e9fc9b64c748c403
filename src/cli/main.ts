/** The `stowage` command: finds the subcommand, runs it, and turns what it throws into a message and an exit code. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { addCommands, type CommandEntry } from "./commands.ts";
import { exitCodeOf, formatError } from "./failure.ts";

const entries: readonly CommandEntry[] = [
  { name: "serve", summary: "offer models over HTTP", load: () => import("./serve.ts") },
  { name: "run", summary: "generate text with a model, in this terminal", load: () => import("./run.ts") },
  {
    name: "embed",
    summary: "print vectors of texts, by their meaning",
    load: () => import("./embed.ts"),
  },
  { name: "bench", summary: "measure this machine and this version", load: () => import("./bench.ts") },
  {
    name: "prepare",
    summary: "write a model's experts as they are read best",
    load: () => import("./prepare.ts"),
  },
  {
    name: "doctor",
    summary: "tell whether this machine is ready, and what to do where it is not",
    load: () => import("./doctor.ts"),
  },
  {
    name: "imatrix",
    summary: "learn from a text which columns of a model's matrices matter",
    load: () => import("./imatrix.ts"),
  },
  {
    name: "perplexity",
    summary: "measure how well a model expects a text",
    load: () => import("./perplexity.ts"),
  },
  { name: "quantize", summary: "write a model in a smaller type", load: () => import("./quantize.ts") },
  {
    name: "devices",
    summary: "list what can compute beside the processor",
    load: () => import("./devices.ts"),
  },
  {
    name: "inspect",
    summary: "tell whether a model fits into memory, and what of it would",
    load: () => import("./inspect.ts"),
  },
  {
    name: "lab",
    summary: "compare policies, and tell what a model gains by them",
    load: () => import("./lab.ts"),
  },
  { name: "ps", summary: "list the models of a running server", load: () => import("./ps.ts") },
  { name: "show", summary: "tell what a model file holds", load: () => import("./show.ts") },
  { name: "stop", summary: "end a running server, or unload a model", load: () => import("./stop.ts") },
  { name: "synth", summary: "write a model of random weights", load: () => import("./synth.ts") },
];

const usageHint = "next: Add --help to see what can stand here.\n";

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command("stowage")
    .description("Serves large language models from less memory than they need.")
    .version(version())
    .showSuggestionAfterError()
    .exitOverride();
  await addCommands(program, entries, argv);
  await program.parseAsync(argv, { from: "user" });
}

/** The version of the package: its package.json is two folders up, from the sources and from `dist` alike. */
function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

// A reader that went away (`stowage show x | head`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = exitCodeOf(error);
  if (!(error instanceof CommanderError)) process.stderr.write(formatError(error));
  // commander has printed its own message; unless that was the help itself, it lacks the next step.
  else if (process.exitCode !== 0 && error.code !== "commander.help") process.stderr.write(usageHint);
}
