/** `stowage imatrix`: which columns of a model's matrices matter, learnt from a text. */
import type { Command } from "commander";
import { makeImportance } from "../engine/imatrix.ts";
import { loadEngine } from "../engine/load.ts";
import type { Perplexity } from "../engine/perplexity.ts";
import { writeImatrix } from "../model/imatrix-file.ts";
import type { Importance } from "../model/importance.ts";
import { wholeNumber } from "./arguments.ts";
import { Interrupts, interruptedCode } from "./interrupts.ts";
import { addLoadFlags, type LoadFlags, loadOptionsOf, loadShown } from "./load-flags.ts";
import { Progress } from "./progress.ts";
import { defaultChunkTokens, readTextArgument, usualChunkTokens } from "./text-argument.ts";

interface Flags extends LoadFlags {
  readonly output: string;
  readonly chunks?: number;
  readonly json?: true;
}

export function register(command: Command): void {
  command
    .argument("<model>", "a GGUF file, or the first of several; best the one that is to be quantised")
    .argument("<text>", "a text file, or - for stdin")
    .option("--output <file>", "the file to write", "imatrix.gguf")
    .addOption(
      command
        .createOption("--chunks <n>", "read this many chunks of the text (default: all)")
        .argParser(wholeNumber(1)),
    );
  addLoadFlags(command, `tokens of a chunk (default: ${usualChunkTokens})`)
    .option("--json", "print what was written as one JSON object")
    .action(imatrix);
}

async function imatrix(path: string, textPath: string, flags: Flags): Promise<void> {
  const abort = new AbortController();
  const interrupts = new Interrupts(() => abort.abort());
  const { signal } = abort;
  const started = performance.now();
  let progress: Progress | undefined;
  try {
    const text = await readTextArgument(textPath);
    const chunkTokens = flags.context ?? (await defaultChunkTokens(path));
    const sizes = { contextTokens: chunkTokens, maxSequences: 1, kvTokens: chunkTokens };
    const model = await loadShown(path, { ...loadOptionsOf(flags), ...sizes, signal }, loadEngine);
    let last: Perplexity | undefined;
    try {
      const importance = await makeImportance(model, text, {
        chunkTokens,
        chunks: flags.chunks,
        dataset: textPath,
        signal,
        progress: (estimate) => {
          progress ??= new Progress({ label: path, total: estimate.chunks * chunkTokens, unit: "tokens" });
          progress.update(estimate.done * chunkTokens, `perplexity ${estimate.perplexity.toFixed(2)}`);
          last = estimate;
        },
      });
      progress?.finish();
      await writeImatrix(flags.output, importance);
      const seconds = (performance.now() - started) / 1000;
      report(importance, last!, seconds, flags);
    } finally {
      await model.dispose();
    }
  } catch (error) {
    progress?.finish();
    if (error !== signal.reason) throw error;
    process.exitCode = interruptedCode;
  } finally {
    interrupts.dispose();
  }
}

function report(importance: Importance, last: Perplexity, seconds: number, { output, json }: Flags): void {
  const { entries, chunks, chunkTokens } = importance;
  const unseen = [...entries.values()].reduce(
    (sum, { counts }) => sum + counts.filter((count) => count === 0).length,
    0,
  );
  const { perplexity } = last;
  if (json) {
    const result = { output, entries: entries.size, chunks, chunkTokens, perplexity, unseen, seconds };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  process.stdout.write(
    `wrote ${output}: ${entries.size} tensors, ${chunks} chunks of ${chunkTokens} tokens, in ${seconds.toFixed(1)} s\n`,
  );
  if (unseen > 0) {
    process.stderr.write(
      `hint: ${unseen} matrices of experts were never used: nothing is known of their columns\n  a longer or more varied text reaches more experts\n`,
    );
  }
}
