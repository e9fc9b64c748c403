/** `stowage quantize`: a model with its matrices in a smaller type. */
import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import type { TensorType } from "../ggml/types.ts";
import { quantizeModel } from "../model/quantize.ts";
import { formatBytes } from "../workload/format.ts";
import { tensorType, wholeNumber } from "./arguments.ts";
import { Progress } from "./progress.ts";

interface Flags {
  readonly type: TensorType;
  readonly override: readonly Override[];
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
        .createOption("--type <type>", "type of the matrices, such as q4_0, q4_k, q5_k, q6_k, q8_0 or f16")
        .argParser(tensorType)
        .makeOptionMandatory(),
    )
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

function addOverride(text: string, earlier: readonly Override[]): readonly Override[] {
  const parts = text.split("=");
  const [part = "", type = ""] = parts;
  if (parts.length !== 2 || part === "") throw new InvalidArgumentError("It has to be like ffn_down=q6_k.");
  return [...earlier, [part, tensorType(type)]];
}

async function quantize(input: string, output: string, { type, override, threads, json }: Flags) {
  const started = performance.now();
  let progress: Progress | undefined;
  await quantizeModel(input, output, {
    type,
    overrides: override,
    threads,
    progress: (done, total) => {
      progress ??= new Progress({ label: `Quantising ${input}`, total, unit: "bytes" });
      progress.update(done);
    },
  }).finally(() => progress?.finish());
  const [from, to] = await Promise.all([stat(input), stat(output)]);
  const seconds = (performance.now() - started) / 1000;
  if (json) {
    process.stdout.write(`${JSON.stringify({ input, output, type, bytes: to.size, seconds })}\n`);
  } else {
    const sizes = `${formatBytes(from.size)} to ${formatBytes(to.size)}`;
    process.stdout.write(`wrote ${output}: ${sizes} in ${seconds.toFixed(1)} s\n`);
  }
}
