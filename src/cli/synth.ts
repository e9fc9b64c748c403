/** `stowage synth`: a model of random weights in the shape of a published one. */
import { stat } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import type { TensorType } from "../ggml/types.ts";
import { publishedShapes } from "../model/published.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import type { Locality } from "../model/synth-locality.ts";
import { formatBytes } from "../workload/format.ts";
import { tensorType, wholeNumber } from "./arguments.ts";
import { Progress } from "./progress.ts";

interface Flags {
  readonly like: string;
  readonly quant: TensorType;
  readonly layers?: number;
  readonly seed: number;
  readonly locality?: Locality;
  readonly out?: string;
  readonly json?: boolean;
}

export function register(command: Command): void {
  const shapes = Object.keys(publishedShapes);
  command
    .addOption(
      command
        .createOption("--like <model>", "the published model whose shape it gets")
        .choices(shapes)
        .makeOptionMandatory(),
    )
    .addOption(
      command
        .createOption("--quant <type>", "type of the matrices, such as q4_0, q4_k or f16")
        .argParser(tensorType)
        .makeOptionMandatory(),
    )
    .addOption(
      command.createOption("--layers <count>", "so many layers instead of all").argParser(wholeNumber(1)),
    )
    .addOption(
      command
        .createOption("--seed <number>", "equal seeds give equal files")
        .argParser(wholeNumber(0))
        .default(1),
    )
    .addOption(
      command
        .createOption(
          "--locality <uniform|percent>",
          "how far neighbouring tokens share experts: not at all, or the SRP(16) to reach, such as 51%",
        )
        .argParser(parseLocality),
    )
    .option("--out <file>", "where to write (default: <model>-synthetic-<type>.gguf)")
    .option("--json", "print what was written as one JSON object")
    .action(synthesise);
}

async function synthesise({ like, quant, layers, seed, locality, out, json }: Flags): Promise<void> {
  const shape = publishedShapes[like]!;
  const path = out ?? `${like}-synthetic-${quant.toLowerCase()}.gguf`;
  const started = performance.now();
  let progress: Progress | undefined;
  await writeSyntheticModel(path, {
    ...shape,
    ...(layers !== undefined && { layers }),
    type: quant,
    seed,
    ...(locality !== undefined && { locality }),
    progress: (written, total) => {
      progress ??= new Progress({ label: `Writing ${path}`, total, unit: "bytes" });
      progress.update(written);
    },
  }).finally(() => progress?.finish());
  const { size } = await stat(path);
  const seconds = (performance.now() - started) / 1000;
  if (json) {
    const made = {
      path,
      bytes: size,
      like,
      type: quant,
      layers: layers ?? shape.layers,
      seed,
      locality,
      seconds,
    };
    process.stdout.write(`${JSON.stringify(made)}\n`);
  } else {
    process.stdout.write(`wrote ${path}: ${formatBytes(size)} in ${seconds.toFixed(1)} s\n`);
  }
}

/** Which percentages can be met depends on the shape; it is checked there. */
function parseLocality(text: string): Locality {
  if (text === "uniform") return text;
  const [, percent] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
  if (percent !== undefined) return Number(percent) / 100;
  throw new InvalidArgumentError('It has to be "uniform", or a percentage such as 51%.');
}
