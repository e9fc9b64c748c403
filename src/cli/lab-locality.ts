/** `stowage lab locality`: whether neighbouring tokens share experts, and what a cache of experts gains by that. */
import { open } from "node:fs/promises";
import type { Command } from "commander";
import { StowageError } from "../errors.ts";
import {
  type LayersAndModel,
  type RoutingTrace,
  type SegmentRouting,
  segmentCacheHits,
  segmentRouting,
} from "../experts/locality.ts";
import { readRoutingTrace } from "../experts/trace/reader.ts";
import { type RoutingLog, tracesOf } from "../experts/trace/routing-log.ts";
import { machineInfo } from "../workload/machine.ts";
import { ownPrompts } from "../workload/own-prompts.ts";
import type { Plot } from "../workload/plot.ts";
import { readPrompts } from "../workload/prompt-file.ts";
import type { Cell } from "../workload/report.ts";
import { wholeNumber } from "./arguments.ts";
import { localityAdvice } from "./lab-locality-advice.ts";
import { routingOfPrompts } from "./lab-routing.ts";
import { type Measured, reportAction } from "./report-action.ts";

interface Flags {
  readonly prompts?: string[];
  readonly answerTokens: number;
  readonly segment: number;
  readonly threads?: number;
}

/** Segments of the curve over m, tokens. */
const segments = [2, 4, 8, 16, 32, 64];

export function register(command: Command): void {
  command
    .argument("<model>", "a mixture of experts in GGUF format, or a routing trace")
    .option(
      "--prompts <files>",
      "what the model is given, files between commas (default: prompts of our own)",
      (text) => text.split(","),
    )
    .addOption(
      command
        .createOption("--answer-tokens <count>", "tokens of each answer")
        .argParser(wholeNumber(1))
        .default(64),
    )
    .addOption(
      command
        .createOption("--segment <tokens>", "m, the tokens that are looked at together")
        .argParser(wholeNumber(1))
        .default(16),
    )
    .option("--threads <n>", "compute threads (default: the processors of this machine)", wholeNumber(1));
  reportAction(command, measureLocality);
}

async function measureLocality(path: string, flags: Flags): Promise<Measured> {
  const log = await routing(path, flags);
  const { layers, experts, used } = log;
  const { segment } = flags;
  const traces = tracesOf(log);
  const longest = Math.max(...traces.map(({ tokens }) => tokens));
  if (longest < segment) {
    const limit = `a sequence of at least ${segment} tokens is needed`;
    throw new StowageError("routing_trace_invalid", { path, field: "tokens", value: longest, limit });
  }
  const srp = segmentRouting(traces, segment);
  const ratios = Array.from({ length: Math.floor(experts / used) }, (_, index) => index + 1);
  const sch = ratios.map((ratio) => segmentCacheHits(traces, segment, ratio * used));
  const shown = [1, 2, 3, 4].filter((ratio) => ratio <= ratios.length);
  const curve = ratios.map((ratio, index) => [ratio, sch[index]!.model] as const);
  return {
    report: {
      machine: machineInfo(),
      settings: {
        model: log.model,
        layers,
        experts,
        used,
        sequences: traces.length,
        tokens: log.count,
        segment,
      },
      results: rows(srp, shown, sch),
      checks: [],
      notes: localityAdvice({ srp: srp.model, segment, experts, used, curve }),
    },
    plots: [hitPlot(segment, used, experts, curve), segmentPlot(traces, longest)],
  };
}

async function routing(path: string, { prompts: files, answerTokens, threads }: Flags): Promise<RoutingLog> {
  if (!(await isGguf(path))) return readRoutingTrace(path);
  const prompts = files ? (await Promise.all(files.map(readPrompts))).flat() : ownPrompts;
  const run = { prompts, answerTokens, ...(threads === undefined ? {} : { threads }) };
  const { log } = await routingOfPrompts(path, run);
  return log;
}

async function isGguf(path: string): Promise<boolean> {
  const handle = await open(path).catch((cause: Error) => {
    throw new StowageError("routing_trace_read", { path, reason: cause.message }, { cause });
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString("latin1") === "GGUF";
  } catch (cause) {
    throw new StowageError("routing_trace_read", { path, reason: (cause as Error).message }, { cause });
  } finally {
    await handle.close();
  }
}

/** A row for the model, then one for each layer. */
function rows(
  srp: LayersAndModel<SegmentRouting>,
  ratios: readonly number[],
  sch: readonly LayersAndModel<number>[],
): Record<string, Cell>[] {
  const row = (layer: string, routing: SegmentRouting, hits: (of: LayersAndModel<number>) => number) => ({
    layer,
    srp_percent: percent(routing.performance),
    srp_size_ratio: Math.round(routing.sizeRatio * 100) / 100,
    ...Object.fromEntries(
      ratios.map((ratio, index) => [`sch_${ratio}x_percent`, percent(hits(sch[index]!))]),
    ),
  });
  return [
    row("model", srp.model, ({ model }) => model),
    ...srp.layers.map((routing, index) => row(String(index), routing, ({ layers }) => layers[index]!)),
  ];
}

function percent(value: number): number {
  return Math.round(value * 1000) / 10;
}

function hitPlot(
  segment: number,
  used: number,
  experts: number,
  curve: readonly (readonly [number, number])[],
): Plot {
  return {
    title: `Hits of a cache that knows the next ${segment} tokens, SCH(${segment}, ρ)`,
    xLabel: "share of all experts in the cache, %",
    yLabel: "hits, %",
    series: [
      {
        name: "oracle cache",
        points: curve.map(([ratio, hits]) => [percent((ratio * used) / experts), percent(hits)] as const),
      },
    ],
  };
}

function segmentPlot(traces: readonly RoutingTrace[], longest: number): Plot {
  const points = segments
    .filter((segment) => segment <= longest)
    .map((segment) => [segment, percent(segmentRouting(traces, segment).model.performance)] as const);
  return {
    title: "How well one group of experts serves a segment, SRP(m)",
    xLabel: "m, tokens",
    yLabel: "SRP, %",
    series: [{ name: "model", points }],
  };
}
