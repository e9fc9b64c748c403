/** `stowage lab lossy`: what lossy modes gain in speed, and what they cost in perplexity. */
import { existsSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { type DecodePass, decodeText } from "../engine/decode-pass.ts";
import type { LoadOptions } from "../engine/load.ts";
import type { LossyOptions } from "../engine/lossy-options.ts";
import { sensitivityPath } from "../experts/lossy/sensitivity-file.ts";
import type { PolicyName } from "../experts/policies/policies.ts";
import { machineInfo } from "../workload/machine.ts";
import type { Plot } from "../workload/plot.ts";
import { type Cell, check } from "../workload/report.ts";
import { parseExpertMemory, wholeNumber } from "./arguments.ts";
import { expertPolicyOption } from "./load-flags.ts";
import { Progress } from "./progress.ts";
import { type Measured, reportAction } from "./report-action.ts";
import { defaultChunkTokens, readTextArgument } from "./text-argument.ts";

type Thresholds = readonly [full: number, skip: number];

interface Flags {
  readonly expertMemory: number | string;
  readonly expertPolicy?: PolicyName;
  readonly thresholds: readonly Thresholds[];
  readonly bytes: readonly (number | string)[];
  readonly chunks: number;
  readonly context?: number;
  readonly threads?: number;
}

const usualThresholds: readonly Thresholds[] = [
  [0.1, 0],
  [0.2, 0],
  [0.3, 0],
  [0.3, 0.1],
  [0.4, 0.1],
  [0.4, 0.2],
  [1, 0],
];
const usualBytes = ["95%", "90%", "80%", "70%", "60%"];

export function register(command: Command): void {
  command
    .argument("<model>", "a mixture of experts in GGUF format")
    .argument("<low>", "the same model, quantised lower")
    .argument("<text>", "a text file, or - for stdin: what is read, token by token")
    .addOption(
      command
        .createOption("--expert-memory <size>", "memory for the experts, or a share of them")
        .argParser(parseExpertMemory)
        .default("50%"),
    )
    .addOption(expertPolicyOption(command))
    .addOption(
      command
        .createOption("--thresholds <list>", "what hobbit is tried with, as full/skip,full/skip")
        .argParser(parseThresholds)
        .default(usualThresholds, usualThresholds.map((pair) => pair.join("/")).join(",")),
    )
    .addOption(
      command
        .createOption("--bytes <list>", "what edgemoe is tried with, where sensitivities were measured")
        .argParser((text) => text.split(",").map(parseExpertMemory))
        .default(usualBytes, usualBytes.join(",")),
    )
    .addOption(
      command
        .createOption("--chunks <n>", "chunks of the text that are read; the first is not timed")
        .argParser(wholeNumber(1))
        .default(4),
    )
    .option("--context <tokens>", "tokens of a chunk, of which the second half is scored", wholeNumber(8))
    .option("--threads <n>", "compute threads (default: the processors of this machine)", wholeNumber(1));
  reportAction(command, measureLossy);
}

/** For `argParser`: pairs of shares. Their range is checked where they are used. */
function parseThresholds(text: string): readonly Thresholds[] {
  return text.split(",").map((pair) => {
    const [full, skip] = /^([\d.]+)\/([\d.]+)$/.exec(pair.trim())?.slice(1).map(Number) ?? [];
    if (Number.isFinite(full) && Number.isFinite(skip)) return [full!, skip!];
    throw new InvalidArgumentError("It has to be like 0.3/0.1,0.4/0.1.");
  });
}

/** One way to run the model. */
interface Way {
  readonly mode: "lossless" | LossyOptions["mode"];
  /** For people. */
  readonly setting: string;
  readonly lossy?: LossyOptions;
}

async function measureLossy(path: string, low: string, textPath: string, flags: Flags): Promise<Measured> {
  const text = await readTextArgument(textPath);
  const chunkTokens = flags.context ?? (await defaultChunkTokens(path));
  const { expertMemory, expertPolicy, threads, chunks } = flags;
  const load: LoadOptions = {
    expertMemory,
    ...(expertPolicy && { expertPolicy }),
    ...(threads !== undefined && { threads }),
  };
  const ways = waysOf(low, flags);
  const progress = new Progress({
    label: "Reading",
    total: ways.length * chunks * chunkTokens,
    unit: "tokens",
  });
  const run = ({ lossy }: Way, index: number) =>
    decodeText(
      path,
      text,
      { ...load, ...(lossy && { lossy }) },
      {
        chunkTokens,
        chunks,
        onChunk: (done) => progress.update((index * chunks + done) * chunkTokens),
      },
    );
  const passes: DecodePass[] = [];
  for (const [index, way] of ways.entries()) passes.push(await run(way, index));
  progress.finish();
  const [lossless] = passes;
  const results = ways.map((way, index) => rowOf(way, passes[index]!, lossless!));
  const exact = ways.flatMap(({ setting }, index) =>
    setting === zero || setting === everything ? [greatestDifference(passes[index]!, lossless!)] : [],
  );
  const edgemoe = ways.some(({ mode }) => mode === "edgemoe");
  return {
    report: {
      machine: machineInfo(),
      settings: {
        ...{ model: path, low, text: textPath, expert_memory: expertMemory },
        ...{ expert_policy: expertPolicy ?? "composite", chunks, chunk_tokens: chunkTokens },
      },
      results,
      checks: [check("identical_when_nothing_is_lost", Math.max(...exact), "nats", "==", 0)],
      notes: edgemoe
        ? []
        : [
            `edgemoe is left out: there is no ${sensitivityPath(low)}; \`stowage lab sensitivity\` writes it.`,
          ],
    },
    plots: [curve(ways, passes, lossless!)],
  };
}

const zero = "full 0, skip 0";
const everything = "bytes 100%";

/** Lossless first. */
function waysOf(low: string, { thresholds, bytes }: Flags): Way[] {
  const pairs: readonly Thresholds[] = [[0, 0], ...thresholds];
  const hobbit = pairs.map(([full, skip]): Way => {
    const setting = `full ${full}, skip ${skip}`;
    return { mode: "hobbit", setting, lossy: { mode: "hobbit", low, full, skip } };
  });
  const measured = existsSync(sensitivityPath(low)) ? ["100%", ...bytes] : [];
  const edgemoe = measured.map((bytes): Way => {
    return { mode: "edgemoe", setting: `bytes ${bytes}`, lossy: { mode: "edgemoe", low, bytes } };
  });
  return [{ mode: "lossless", setting: "-" }, ...hobbit, ...edgemoe];
}

function rowOf({ mode, setting }: Way, pass: DecodePass, lossless: DecodePass): Record<string, Cell> {
  const { mean, error } = change(pass, lossless);
  const same = pass.best.filter((token, index) => token === lossless.best[index]).length;
  return {
    mode,
    setting,
    tokens_per_s: rounded(pass.tokensPerSecond, 1),
    perplexity: rounded(pass.perplexity, 4),
    change_percent: rounded(100 * Math.expm1(mean), 2),
    change_error_percent: rounded(100 * error, 2),
    same_best_percent: rounded((100 * same) / pass.best.length, 1),
    read_kib_a_token: rounded(pass.readBytes / 1024, 1),
    stall_ms_a_token: rounded(pass.stallMs, 2),
    there_percent: rounded(100 * pass.hits, 1),
    low_percent: rounded(100 * pass.low, 1),
    skipped_percent: rounded(100 * pass.skipped, 1),
  };
}

/** By how much more than lossless a pass loses a token, nats: the mean of the differences and its standard error. */
function change({ losses }: DecodePass, lossless: DecodePass): { mean: number; error: number } {
  const differences = losses.map((loss, index) => loss - lossless.losses[index]!);
  const mean = differences.reduce((sum, each) => sum + each, 0) / differences.length;
  const squares = differences.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  return { mean, error: Math.sqrt(squares / (differences.length * Math.max(1, differences.length - 1))) };
}

function greatestDifference({ losses }: DecodePass, lossless: DecodePass): number {
  return losses.reduce((most, loss, index) => Math.max(most, Math.abs(loss - lossless.losses[index]!)), 0);
}

function curve(ways: readonly Way[], passes: readonly DecodePass[], lossless: DecodePass): Plot {
  const series = (["lossless", "hobbit", "edgemoe"] as const).map((name) => ({
    name,
    points: passes
      .filter((_, index) => ways[index]!.mode === name)
      .map((pass) => [pass.tokensPerSecond, 100 * Math.expm1(change(pass, lossless).mean)] as const)
      .sort(([a], [b]) => a - b),
  }));
  return {
    title: "What lossy modes gain and cost",
    xLabel: "decode, tokens/s",
    yLabel: "perplexity over lossless, %",
    series: series.filter(({ points }) => points.length > 0),
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
