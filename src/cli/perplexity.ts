/** `stowage perplexity`: how well a model expects a text. */
import type { Command } from "commander";
import { loadEngine } from "../engine/load.ts";
import { measurePerplexity, type Perplexity } from "../engine/perplexity.ts";
import { wholeNumber } from "./arguments.ts";
import { Interrupts, interruptedCode } from "./interrupts.ts";
import { addLoadFlags, type LoadFlags, loadOptionsOf, loadShown } from "./load-flags.ts";
import { Progress } from "./progress.ts";
import { defaultChunkTokens, readTextArgument, usualChunkTokens } from "./text-argument.ts";

interface Flags extends LoadFlags {
  readonly chunks?: number;
  readonly byToken?: true;
  readonly json?: true;
}

export function register(command: Command): void {
  command
    .argument("<model>", "a GGUF file, or the first of several")
    .argument("<text>", "a text file, or - for stdin")
    .addOption(
      command
        .createOption("--chunks <n>", "read this many chunks of the text (default: all)")
        .argParser(wholeNumber(1)),
    );
  addLoadFlags(
    command,
    `tokens of a chunk, of which the second half is scored (default: ${usualChunkTokens})`,
  )
    .option(
      "--by-token",
      "read in steps of one token, as answers are decoded: what hobbit changes shows there alone",
    )
    .option("--json", "print the result as one JSON object")
    .action(perplexity);
}

async function perplexity(path: string, textPath: string, flags: Flags): Promise<void> {
  const abort = new AbortController();
  const interrupts = new Interrupts(() => abort.abort());
  const { signal } = abort;
  const started = performance.now();
  try {
    const text = await readTextArgument(textPath);
    const chunkTokens = flags.context ?? (await defaultChunkTokens(path));
    const steps = flags.byToken ? { stepTokens: 1 } : {};
    const sizes = { contextTokens: chunkTokens, maxSequences: 1, kvTokens: chunkTokens, ...steps };
    const model = await loadShown(path, { ...loadOptionsOf(flags), ...sizes, signal }, loadEngine);
    try {
      const options = { chunkTokens, chunks: flags.chunks, signal };
      const result = await shown(path, measurePerplexity(model, text, options), chunkTokens);
      const seconds = (performance.now() - started) / 1000;
      const lossy = model.lossy && { mode: model.lossy.mode.name, says: model.lossy.mode.says };
      process.stdout.write(
        flags.json
          ? `${JSON.stringify({ model: path, text: textPath, chunkTokens, ...result, lossy, seconds })}\n`
          : `${sentence(result, chunkTokens, seconds)}${lossy ? `lossy: ${lossy.mode}, ${lossy.says}\n` : ""}`,
      );
    } finally {
      await model.dispose();
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
    process.exitCode = interruptedCode;
  } finally {
    interrupts.dispose();
  }
}

/** The last estimate; each is shown as it comes. */
async function shown(path: string, estimates: AsyncIterable<Perplexity>, chunkTokens: number) {
  let progress: Progress | undefined;
  let last: Perplexity | undefined;
  try {
    for await (const estimate of estimates) {
      progress ??= new Progress({ label: path, total: estimate.chunks * chunkTokens, unit: "tokens" });
      progress.update(estimate.done * chunkTokens, `perplexity ${withError(estimate)}`);
      last = estimate;
    }
  } finally {
    progress?.finish();
  }
  return last!;
}

function sentence(result: Perplexity, chunkTokens: number, seconds: number): string {
  const read = `${result.chunks} ${result.chunks === 1 ? "chunk" : "chunks"} of ${chunkTokens} tokens`;
  const scored = `${result.scoredTokens} tokens scored`;
  return `perplexity ${withError(result)} (${read}, ${scored}, ${seconds.toFixed(1)} s)\n`;
}

function withError({ perplexity, error }: Perplexity): string {
  return `${perplexity.toFixed(4)} ± ${error.toFixed(5)}`;
}
