import { loadNative } from "../ggml/library.ts";
import { openGguf } from "../gguf/read.ts";
import { machineInfo } from "../workload/machine.ts";
import type { Plot } from "../workload/plot.ts";
import { randomTokens } from "../workload/random-tokens.ts";
import { check, type Report } from "../workload/report.ts";
import { llamaSide, Side } from "../workload/side.ts";
import type { SideOptions } from "../workload/side-messages.ts";
import { median } from "../workload/statistics.ts";

/** What is measured. Times in ms, memory in bytes. */
const metrics = ["decode_1", "decode_8", "prefill_512", "load", "peak_memory"] as const;
type Metric = (typeof metrics)[number];

/** A process loads first, and its peak is known last. */
const measureOrder: readonly Metric[] = ["load", "decode_1", "decode_8", "prefill_512", "peak_memory"];

/** The samples of one process. */
type Samples = Record<Metric, readonly number[]>;

/** What llama.cpp can be set to. */
interface Variant {
  readonly flashAttention: boolean;
  readonly unifiedKv: boolean;
  readonly repack: boolean;
}

export interface EngineBenchOptions {
  readonly modelPath: string;
  readonly threads: number;
  /** Rounds of fresh processes, in which both sides are measured in turns. Default: 5, and 3 of a slow model. */
  readonly rounds?: number;
  /** The device on which our side computes; llama.cpp computes on the processor. */
  readonly device?: string;
  /** Told what is being done. */
  readonly note: (text: string) => void;
}

/** How much is done for each metric; by the speed of the model. */
interface Effort {
  readonly prompts: readonly number[][];
  readonly longPrompt: number[];
  readonly steps: number;
  readonly prefills: number;
}

const sequences = 8;
const shortPromptTokens = 32;
const longPromptTokens = 512;
const contextTokens = 1024;
/** Decoding is measured for about so long, within these bounds. */
const decodeMs = 1500;
const decodeSteps = { least: 24, most: 256 };
/** Each setting is tried so often, and the better of its results counts: a passing disturbance must not choose. */
const trialPasses = 3;
/** A model whose step of 8 sequences takes longer is big: it is tried once, and does not suffer from short noise. */
const slowMs = 20;
/** Prefill is tried on a shorter prompt than it is measured on. */
const trialPromptTokens = 128;
/** How long the threads of llama.cpp's side are seen to poll after their last graph, and some more. */
const pollingMs = 250;
/** The unmeasured steps of a side, and one to spare. */
const extraSteps = 12;

const ownSide = new URL(
  import.meta.url.endsWith(".ts") ? "stowage-side.ts" : "stowage-side.js",
  import.meta.url,
);

const variants: readonly Variant[] = [true, false].flatMap((repack) =>
  [true, false].flatMap((flashAttention) =>
    [false, true].map((unifiedKv) => ({ flashAttention, unifiedKv, repack })),
  ),
);

/**
 * Measures the engine and llama.cpp on the same file, each in processes of its own. First every setting of llama.cpp
 * is tried; the settings that were best at some metric go on, and the best of them in a round is its peer. In each round both sides have
 * fresh processes and are measured in turns, metric by metric; a check is the median of the rounds' ratios, so that
 * a machine whose speed drifts favours nobody. The page cache is warm: the trials have read the file.
 */
export async function measureEngine(options: EngineBenchOptions): Promise<{ report: Report; plots: Plot[] }> {
  const file = await openGguf(options.modelPath);
  const vocabulary = file.tensors.get("token_embd.weight")?.shape[1] ?? 1;
  const trained = file.metadata.number(`${file.metadata.string("general.architecture")}.context_length`);
  const context = Math.min(contextTokens, trained);
  const base: SideOptions = {
    modelPath: options.modelPath,
    threads: options.threads,
    contextTokens: context * sequences,
    sequences,
    ...(options.device !== undefined && { device: options.device }),
  };
  const trial = {
    ...effortFor(context, vocabulary, decodeSteps.least, 1),
    longPrompt: randomTokens(trialPromptTokens, vocabulary, sequences),
  };
  const rows: Report["results"][number][] = [];

  // The first process of our side is not counted: it leaves compiled code behind, as every user's second start finds.
  options.note("warming up stowage");
  await trySide(ownSide, base, trial);
  const trials: { variant: Variant; samples: Samples }[] = [];
  for (let pass = 1; pass <= trialPasses; pass++) {
    for (const variant of variants) {
      options.note(`trying llama.cpp with ${nameOf(variant)}, ${pass} of ${trialPasses}`);
      const samples = await trySide(llamaSide, { ...base, ...variant }, trial);
      trials.push({ variant, samples });
      rows.push(...rowsOf("trial", nameOf(variant), pass, samples));
    }
    if (median(trials[0]!.samples.decode_8) > slowMs) break;
  }
  const best = new Map(metrics.map((metric) => [metric, bestAt(metric, trials)]));

  const fastest = Math.min(...trials.map(({ samples }) => median(samples.decode_8)));
  const steps = Math.round(Math.min(Math.max(decodeMs / fastest, decodeSteps.least), decodeSteps.most));
  const room = context - shortPromptTokens - extraSteps;
  const effort = effortFor(context, vocabulary, Math.min(steps, room), fastest < slowMs ? 3 : 1);
  const ratios: Record<Metric, number[]> = {
    decode_1: [],
    decode_8: [],
    prefill_512: [],
    load: [],
    peak_memory: [],
  };
  let last: { ours: Samples; theirs: Samples } | undefined;
  const rounds = options.rounds ?? (fastest < slowMs ? 5 : 3);
  for (let round = 1; round <= rounds; round++) {
    options.note(`round ${round} of ${rounds}`);
    const sides = await startSides(base, [...new Set(best.values())]);
    try {
      const ours = {} as Record<Metric, readonly number[]>;
      const theirs = {} as Record<Metric, readonly number[]>;
      for (const metric of measureOrder) {
        const measureOurs = async () => {
          ours[metric] = await measure(sides.ours, metric, effort);
          rows.push(rowOf("stowage", "default", round, metric, ours[metric]));
        };
        // The fastest of the settings in this very round is the peer: the tries alone may have been disturbed.
        const measureTheirs = async () => {
          for (const [variant, side] of sides.theirs) {
            const samples = await measure(side, metric, effort);
            await settled();
            rows.push(rowOf("llama.cpp", nameOf(variant), round, metric, samples));
            if (!theirs[metric] || median(samples) < median(theirs[metric])) theirs[metric] = samples;
          }
        };
        // Who goes first changes from round to round.
        const turns = round % 2 === 1 ? [measureOurs, measureTheirs] : [measureTheirs, measureOurs];
        for (const turn of turns) await turn();
        const quotient = median(ours[metric]) / median(theirs[metric]);
        ratios[metric].push(metric === "load" || metric === "peak_memory" ? quotient : 1 / quotient);
      }
      last = { ours, theirs };
    } finally {
      await Promise.all([sides.ours, ...sides.theirs.values()].map((side) => side.stop()));
    }
  }
  const ratio = (metric: Metric) => median(ratios[metric]);

  // The context of a small model may not hold 512 tokens: then the whole of it is the prompt, and parity the goal.
  const prefillGoal = context > longPromptTokens ? 1.2 : 1;
  const settings: Record<string, string | number> = {
    model: options.modelPath,
    ...(options.device !== undefined && { device: options.device }),
    threads: options.threads,
    context_tokens_a_sequence: context,
    prefill_tokens: effort.longPrompt.length,
    decode_prompt_tokens: shortPromptTokens,
    decode_steps: effort.steps,
    rounds,
    peer: "libllama of the same package; for each metric the best of its settings in each round",
  };
  for (const metric of metrics) settings[`peer_best_when_tried_${metric}`] = nameOf(best.get(metric)!);
  const { version } = loadNative();
  const report: Report = {
    machine: machineInfo(version),
    settings,
    results: rows,
    checks: [
      check("decode_1", ratio("decode_1"), "x", ">=", 1),
      check("decode_8", ratio("decode_8"), "x", ">=", 1),
      check("prefill_512", ratio("prefill_512"), "x", ">=", prefillGoal),
      check("load", ratio("load"), "x", "<=", 1),
      check("peak_memory", ratio("peak_memory"), "x", "<=", 1),
    ],
  };
  const plots = (["decode_1", "decode_8"] as const).map((metric) =>
    stepPlot(metric, last!.ours[metric], last!.theirs[metric]),
  );
  return { report, plots };
}

/** Processes of both sides, idle. */
async function startSides(base: SideOptions, settings: readonly Variant[]) {
  const theirs = new Map<Variant, Side>();
  const ours = await Side.start(ownSide, base);
  try {
    for (const variant of settings) {
      theirs.set(variant, await Side.start(llamaSide, { ...base, ...variant }));
    }
  } catch (error) {
    await Promise.all([ours, ...theirs.values()].map((side) => side.stop()));
    throw error;
  }
  return { ours, theirs };
}

/** llama.cpp's threads poll for a while after a graph; nobody else is measured meanwhile. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pollingMs));
}

async function measure(side: Side, metric: Metric, effort: Effort): Promise<readonly number[]> {
  if (metric === "load") return [(await side.loadToFirstToken(effort.prompts[0]!)).milliseconds];
  if (metric === "peak_memory") return [await side.peakMemory()];
  if (metric === "prefill_512") {
    const times: number[] = [];
    for (let count = 0; count < effort.prefills; count++) {
      times.push((await side.prefill(effort.longPrompt)).milliseconds);
    }
    return times;
  }
  const prompts = metric === "decode_1" ? effort.prompts.slice(0, 1) : effort.prompts;
  return (await side.decode(prompts, effort.steps)).stepMilliseconds;
}

/** All measures in one process. */
async function trySide(script: URL, options: SideOptions, effort: Effort): Promise<Samples> {
  const side = await Side.start(script, options);
  try {
    const samples = {} as Record<Metric, readonly number[]>;
    for (const metric of measureOrder) samples[metric] = await measure(side, metric, effort);
    return samples;
  } finally {
    await side.stop();
  }
}

/** The least is best of every metric: all are times or bytes. */
function bestAt(metric: Metric, trials: readonly { variant: Variant; samples: Samples }[]): Variant {
  return trials.reduce((best, trial) =>
    median(trial.samples[metric]) < median(best.samples[metric]) ? trial : best,
  ).variant;
}

function effortFor(context: number, vocabulary: number, steps: number, prefills: number): Effort {
  return {
    prompts: Array.from({ length: sequences }, (_, index) =>
      randomTokens(shortPromptTokens, vocabulary, index),
    ),
    longPrompt: randomTokens(Math.min(longPromptTokens, context - 1), vocabulary, sequences),
    steps: Math.min(steps, context - shortPromptTokens - extraSteps),
    prefills,
  };
}

function rowsOf(side: string, setting: string, round: number, samples: Samples): Report["results"][number][] {
  return metrics.map((metric) => rowOf(side, setting, round, metric, samples[metric]));
}

function rowOf(
  side: string,
  setting: string,
  round: number,
  metric: Metric,
  samples: readonly number[],
): Report["results"][number] {
  const unit = metric === "peak_memory" ? "bytes" : "ms";
  const raw = samples.map(round3).join(" ");
  return { side, setting, round, metric, unit, median: round3(median(samples)), samples: raw };
}

function stepPlot(metric: Metric, ours: readonly number[], theirs: readonly number[]): Plot {
  const points = (samples: readonly number[]) => samples.map((ms, step) => [step, ms] as const);
  return {
    title: `${metric}: time of each step, last round`,
    xLabel: "step",
    yLabel: "ms",
    series: [
      { name: "stowage", points: points(ours) },
      { name: "llama.cpp", points: points(theirs) },
    ],
  };
}

function nameOf({ flashAttention, unifiedKv, repack }: Variant): string {
  const word = (on: boolean) => (on ? "on" : "off");
  return `flash attention ${word(flashAttention)}, unified KV ${word(unifiedKv)}, repacking ${word(repack)}`;
}

function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}
