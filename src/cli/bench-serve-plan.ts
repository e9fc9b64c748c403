import { StowageError } from "../errors.ts";
import { arrivalTimes } from "../workload/arrivals.ts";
import type { LoadPlan } from "../workload/load-run.ts";
import { Random } from "../workload/random.ts";
import type { Report } from "../workload/report.ts";
import { dueAt, type Lengths, syntheticRequests } from "../workload/synthetic-requests.ts";
import { readTrace } from "../workload/traces/read.ts";
import { type PlannedRequest, shapeTrace } from "../workload/traces/shape.ts";
import type { ServeFlags } from "./bench-serve-arguments.ts";

type Settings = Report["settings"];

/** What is sent, when, and what the report says of it. */
export interface ServePlan extends LoadPlan {
  readonly settings: Settings;
  /** How many requests there are; undefined where only time ends them. */
  readonly count: number | undefined;
}

const defaultConcurrency = 4;
const defaultVariation = 2;

/**
 * Makes the plan that the flags describe.
 *
 * @throws StowageError `load_flags` when flags contradict each other, and what {@link readTrace} throws.
 */
export async function planOf(flags: ServeFlags): Promise<ServePlan> {
  checkFlags(flags);
  const source = flags.trace === undefined ? synthetic(flags) : await traced(flags, flags.trace);
  const timing = timingOf(flags, source.requests);
  const { duration } = flags;
  return {
    ...timing,
    count: source.count,
    durationMs: duration === undefined ? undefined : 1000 * duration,
    settings: {
      ...timing.settings,
      ...source.settings,
      ...(duration !== undefined && { duration_s: duration }),
    },
  };
}

function checkFlags(flags: ServeFlags): void {
  const { rate, concurrency, trace, arrivals, cv, scaleRate } = flags;
  const refuse = (names: string, reason: string) => {
    throw new StowageError("load_flags", { flags: names, reason });
  };
  if (rate !== undefined && concurrency !== undefined)
    refuse("--rate and --concurrency together", "either says when requests are sent");
  if (arrivals !== undefined && rate === undefined) refuse("--arrivals", "it needs --rate");
  if (cv !== undefined && arrivals !== "gamma") refuse("--cv", "it needs --arrivals gamma");
  if (scaleRate !== undefined && (rate ?? concurrency) !== undefined)
    refuse("--scale-rate", "--rate or --concurrency say when requests are sent");
  for (const [flag, value] of traceFlags(flags))
    if (value !== undefined && trace === undefined) refuse(flag, "it needs --trace");
  if (trace !== undefined && (flags.inputTokens ?? flags.outputTokens) !== undefined)
    refuse("--input-tokens and --output-tokens", "the trace has its own lengths; see --scale-length");
}

function traceFlags({ traceFormat, scaleRate, scaleLength, maxInput, maxOutput }: ServeFlags) {
  return [
    ["--trace-format", traceFormat],
    ["--scale-rate", scaleRate],
    ["--scale-length", scaleLength],
    ["--max-input", maxInput],
    ["--max-output", maxOutput],
  ] as const;
}

interface Source {
  readonly requests: Iterable<PlannedRequest>;
  readonly count: number | undefined;
  readonly settings: Settings;
}

function synthetic({ inputTokens, outputTokens, requests, duration, seed }: ServeFlags): Source {
  const input = inputTokens ?? { least: 256, most: 256 };
  const output = outputTokens ?? { least: 64, most: 64 };
  const count = requests ?? (duration === undefined ? 100 : Number.POSITIVE_INFINITY);
  return {
    requests: syntheticRequests({ input, output, seed, count }),
    count: Number.isFinite(count) ? count : undefined,
    settings: { input_tokens: lengthsText(input), output_tokens: lengthsText(output) },
  };
}

function lengthsText({ least, most }: Lengths): string {
  return least === most ? String(least) : `${least}-${most}`;
}

async function traced(flags: ServeFlags, path: string): Promise<Source> {
  const { traceFormat, requests: limit, scaleRate = 1, scaleLength = 1 } = flags;
  const trace = await readTrace(path, {
    ...(traceFormat !== undefined && { format: traceFormat }),
    ...(limit !== undefined && { limit }),
  });
  const shaped = shapeTrace(trace.requests, flags);
  return {
    requests: shaped.requests,
    count: shaped.requests.length,
    settings: {
      trace: `${path} (${trace.format})`,
      ...(trace.dropped > 0 && { trace_without_tokens: trace.dropped }),
      ...(scaleRate !== 1 && { scale_rate: scaleRate }),
      ...(scaleLength !== 1 && { scale_length: scaleLength }),
      ...(shaped.clippedInputs > 0 && { clipped_inputs: shaped.clippedInputs }),
      ...(shaped.clippedOutputs > 0 && { clipped_outputs: shaped.clippedOutputs }),
    },
  };
}

type Timing = Pick<ServePlan, "requests" | "concurrency" | "settings">;

/** The times of a rate, of the trace, or none where a number of requests at any time is wanted. */
function timingOf(flags: ServeFlags, requests: Iterable<PlannedRequest>): Timing {
  const { rate, trace, seed, arrivals: kind = "poisson" } = flags;
  if (rate !== undefined) {
    const variation = flags.cv ?? defaultVariation;
    const times = () => arrivalTimes({ kind, rate, variation }, new Random(seed, 4));
    const settings = { arrivals: kind, rate_per_s: rate, ...(kind === "gamma" && { cv: variation }) };
    return { requests: dueAt(requests, times), settings };
  }
  if (trace !== undefined && flags.concurrency === undefined)
    return { requests, settings: { arrivals: "as in the trace" } };
  const concurrency = flags.concurrency ?? defaultConcurrency;
  return { requests, concurrency, settings: { concurrency } };
}
