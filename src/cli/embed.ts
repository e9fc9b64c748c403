/** `stowage embed`: vectors of texts in this terminal, without a server. */
import { createInterface } from "node:readline";
import type { Command } from "commander";
import type { EmbedOptions } from "../engine/embedding.ts";
import { loadModel, type Model } from "../engine/model.ts";
import { StowageError } from "../errors.ts";
import { textPoolings } from "../model/pooling.ts";
import { wholeNumber } from "./arguments.ts";
import { untilInterrupted } from "./interrupts.ts";
import { addLoadFlags, type LoadFlags, loadOptionsOf, loadShown } from "./load-flags.ts";

interface Flags extends LoadFlags, EmbedOptions {
  readonly json?: true;
}

/** Lines of stdin that the engine has at a time. */
const linesTogether = 64;

export function register(command: Command): void {
  command
    .argument("<model>", "model file in GGUF format")
    .argument("[text...]", "the texts; default: the lines of stdin")
    .addOption(
      command
        .createOption("--pooling <name>", "how a vector is made of the tokens' (default: the model's)")
        .choices(textPoolings),
    )
    .option("--dimensions <n>", "elements to keep of each vector (default: all)", wholeNumber(1));
  addLoadFlags(command, "longest text, tokens (default: the model's, at most 4096)")
    .option("--json", "print each vector as a line of JSON, with its text")
    .action(embed);
}

async function embed(path: string, texts: string[], flags: Flags): Promise<void> {
  await untilInterrupted(async (signal) => {
    const source = texts.length > 0 ? [texts] : groupsOfLines();
    const model = await loadShown(path, { ...loadOptionsOf(flags), signal }, loadModel);
    try {
      for await (const group of source) await printAll(model, group, flags, signal);
    } finally {
      await model.dispose();
    }
  });
}

async function printAll(model: Model, texts: string[], flags: Flags, signal: AbortSignal): Promise<void> {
  const { pooling, dimensions, json } = flags;
  const options = { ...(pooling && { pooling }), ...(dimensions !== undefined && { dimensions }), signal };
  const { embeddings } = await model.embed(texts, options);
  for (const [index, vector] of embeddings.entries()) {
    const numbers = Array.from(vector, (value) => Number(value.toPrecision(9)));
    const line = json ? JSON.stringify({ text: texts[index], embedding: numbers }) : numbers.join(" ");
    process.stdout.write(`${line}\n`);
  }
}

/** @throws StowageError prompt_missing when there is none */
async function* groupsOfLines(): AsyncGenerator<string[]> {
  let group: string[] = [];
  let found = false;
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line === "") continue;
    found = true;
    group.push(line);
    if (group.length === linesTogether) {
      yield group;
      group = [];
    }
  }
  if (group.length > 0) yield group;
  if (!found) throw new StowageError("prompt_missing", { reason: "stdin is empty" });
}
