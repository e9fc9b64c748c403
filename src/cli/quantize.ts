/** `stowage quantize`: a model with its matrices in a smaller type. */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import type { TensorType } from "../ggml/types.ts";
import { type GgufFile, openGguf } from "../gguf/read.ts";
import { readImatrix } from "../model/imatrix-file.ts";
import { quantizeModel } from "../model/quantize.ts";
import { type RecipeName, recipeOf, recipes } from "../model/quantize-recipes.ts";
import { formatBytes } from "../workload/format.ts";
import { tensorType, wholeNumber } from "./arguments.ts";
import { Interrupts, interruptedCode } from "./interrupts.ts";
import { Progress } from "./progress.ts";

interface Flags {
  readonly type: RecipeName;
  readonly pure?: true;
  readonly override: readonly Override[];
  readonly imatrix?: string;
  readonly threads: number;
  readonly json?: boolean;
}

type Override = readonly [part: string, type: TensorType];

/** Chunks are converted on libuv's pool; more at once than it has threads only take memory. */
const poolThreads = Number(process.env.UV_THREADPOOL_SIZE ?? 4);

export function register(command: Command): void {
  command
    .argument("<input>", "a GGUF file, or the first of several")
    .argument("<output>", "the file to write")
    .addOption(
      command
        .createOption(
          "--type <type>",
          "what most matrices become, such as q4_k_m, q5_k_m, q6_k, q8_0, iq4_xs or f16",
        )
        .argParser(recipe)
        .makeOptionMandatory(),
    )
    .option("--pure", "that type for every matrix, without a mix")
    .option("--imatrix <file>", "an importance matrix, as `stowage imatrix` writes it: better at every size")
    .addOption(
      command
        .createOption(
          "--override <part=type>",
          "another type where the tensor's name has this part; may be repeated",
        )
        .argParser(addOverride)
        .default([], "none"),
    )
    .addOption(
      command
        .createOption("--threads <count>", "chunks that are worked on at once")
        .argParser(wholeNumber(1))
        .default(Math.min(availableParallelism(), poolThreads)),
    )
    .option("--json", "print what was written as one JSON object")
    .action(quantize);
}

/** For `argParser`: a recipe by its name, in capitals or not. */
function recipe(text: string): RecipeName {
  const found = recipeOf(text);
  if (found) return found;
  throw new InvalidArgumentError(`It has to be one of ${Object.keys(recipes).join(", ").toLowerCase()}.`);
}

function addOverride(text: string, earlier: readonly Override[]): readonly Override[] {
  const parts = text.split("=");
  const [part = "", type = ""] = parts;
  if (parts.length !== 2 || part === "") throw new InvalidArgumentError("It has to be like ffn_down=q6_k.");
  return [...earlier, [part, tensorType(type)]];
}

async function quantize(input: string, output: string, { imatrix, json, override, ...flags }: Flags) {
  const started = performance.now();
  const abort = new AbortController();
  const interrupts = new Interrupts(() => abort.abort());
  let progress: Progress | undefined;
  try {
    await quantizeModel(input, output, {
      recipe: flags.type,
      pure: flags.pure === true,
      overrides: override,
      threads: flags.threads,
      ...(imatrix !== undefined && { importance: await readImatrix(imatrix), importancePath: imatrix }),
      progress: (done, total) => {
        progress ??= new Progress({ label: `Quantising ${input}`, total, unit: "bytes" });
        progress.update(done);
      },
      signal: abort.signal,
    }).finally(() => progress?.finish());
    const seconds = (performance.now() - started) / 1000;
    const [before, after] = [await openGguf(input), await openGguf(output)];
    const [from, to] = [bytesOf(before), bytesOf(after)];
    if (json) {
      const result = { input, output, type: flags.type, bytes: to, bitsAWeight: bitsAWeight(after), seconds };
      process.stdout.write(`${JSON.stringify(result)}\n`);
    } else {
      const sizes = `${formatBytes(from)} to ${formatBytes(to)}, ${bitsAWeight(after).toFixed(2)} bits a weight`;
      process.stdout.write(`wrote ${output}: ${sizes}, in ${seconds.toFixed(1)} s\n`);
    }
  } catch (error) {
    if (error !== abort.signal.reason) throw error;
    process.exitCode = interruptedCode;
  } finally {
    interrupts.dispose();
  }
}

function bytesOf({ shards }: GgufFile): number {
  return shards.reduce((sum, { bytes }) => sum + bytes, 0);
}

function bitsAWeight({ tensors }: GgufFile): number {
  const all = [...tensors.values()];
  const weights = all.reduce(
    (sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1),
    0,
  );
  return (8 * all.reduce((sum, { bytes }) => sum + bytes, 0)) / weights;
}
