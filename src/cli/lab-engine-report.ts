import { defaultPolicy, type PolicyName } from "../experts/policies/policies.ts";
import type { Plot } from "../workload/plot.ts";
import { type Cell, type Check, check } from "../workload/report.ts";
import type { ReplaySamples } from "../workload/side-messages.ts";
import { median } from "../workload/statistics.ts";
import { round3, sum } from "./bench-experts-metrics.ts";

/** What a policy did in a round. */
export interface Measurement {
  readonly policy: PolicyName;
  readonly round: number;
  readonly samples: readonly ReplaySamples[];
}

/** Within so much, speeds are equal whatever the rounds say; and no noise excuses more than the other. */
const leastNoise = 0.03;
const mostNoise = 0.1;

/** What a policy came to in its decode steps, a token. */
interface Figures {
  readonly tokensPerSecond: number;
  readonly hits: number;
  readonly readMegabytes: number;
  readonly stallMs: number;
  readonly decidedMs: number;
  readonly besideMs: number;
}

/** A row a policy, the fastest first: medians of the rounds. */
export function rowsOf(
  policies: readonly PolicyName[],
  measurements: readonly Measurement[],
): Record<string, Cell>[] {
  const rows = policies.map((policy) => {
    const own = measurements.filter((measurement) => measurement.policy === policy);
    const rounds = own.map(figuresOf);
    const middle = (of: (figures: Figures) => number) => round3(median(rounds.map(of)));
    const says = own.at(-1)?.samples.at(-1)?.policy ?? null;
    return {
      policy,
      tokens_per_s: middle(({ tokensPerSecond }) => tokensPerSecond),
      hit_percent: middle(({ hits }) => 100 * hits),
      read_mb_per_token: middle(({ readMegabytes }) => readMegabytes),
      stall_ms_per_token: middle(({ stallMs }) => stallMs),
      policy_ms_waited_for: middle(({ decidedMs }) => decidedMs),
      policy_ms_beside: middle(({ besideMs }) => besideMs),
      rounds_tokens_per_s: rounds.map(({ tokensPerSecond }) => tokensPerSecond.toFixed(2)).join(" "),
      says,
    };
  });
  return rows.sort((a, b) => b.tokens_per_s - a.tokens_per_s);
}

/**
 * The default against each other policy, as the median over rounds of the ratio of their speeds in a round: what the
 * machine does for a whole round speeds up or slows down both. How far such ratios differ between rounds is the noise.
 */
export function checksOf(policies: readonly PolicyName[], measurements: readonly Measurement[]): Check[] {
  const checks = [check("bit_equal", sameTokens(measurements) ? 1 : 0, "x", "==", 1)];
  if (!policies.includes(defaultPolicy)) return checks;
  const ratios = policies
    .filter((policy) => policy !== defaultPolicy)
    .map((policy) => ratiosOf(defaultPolicy, policy, measurements));
  if (ratios.length === 0) return checks;
  const least = Math.min(...ratios.map(median));
  return [check("default_over_best", round3(least), "x", ">=", round3(1 - noiseOf(ratios))), ...checks];
}

/** Speed by round, a curve a policy. */
export function plotsOf(policies: readonly PolicyName[], measurements: readonly Measurement[]): Plot[] {
  const curves = (of: (figures: Figures) => number) =>
    policies.map((name) => ({
      name,
      points: measurements
        .filter(({ policy }) => policy === name)
        .map((measurement) => [measurement.round, round3(of(figuresOf(measurement)))] as const),
    }));
  const xLabel = "round";
  return [
    {
      title: "Speed of decoding",
      xLabel,
      yLabel: "tokens/s",
      series: curves(({ tokensPerSecond }) => tokensPerSecond),
    },
    {
      title: "Waiting for experts",
      xLabel,
      yLabel: "stall, ms a token",
      series: curves(({ stallMs }) => stallMs),
    },
  ];
}

/** Twice the usual distance of a ratio from the median of its rounds, within bounds. */
function noiseOf(ratios: readonly (readonly number[])[]): number {
  const distances = ratios.flatMap((rounds) => {
    const middle = median(rounds);
    // The middle one has none by definition.
    return rounds.length < 2 ? [] : rounds.map((ratio) => Math.abs(ratio / middle - 1));
  });
  const usual = distances.length === 0 ? 0 : sum(distances) / distances.length;
  return Math.min(mostNoise, Math.max(leastNoise, 2 * usual));
}

function ratiosOf(policy: PolicyName, over: PolicyName, measurements: readonly Measurement[]): number[] {
  const speeds = (name: PolicyName) =>
    new Map(
      measurements
        .filter((measurement) => measurement.policy === name)
        .map((measurement) => [measurement.round, figuresOf(measurement).tokensPerSecond]),
    );
  const others = speeds(over);
  return [...speeds(policy)].map(([round, speed]) => speed / others.get(round)!);
}

/** Whether the best token of each step, by its logits, is the same under all policies and in all rounds. */
function sameTokens(measurements: readonly Measurement[]): boolean {
  const best = measurements.map(({ samples }) => JSON.stringify(samples.map((sample) => sample.best)));
  return best.every((tokens) => tokens === best[0]);
}

function figuresOf({ samples }: Measurement): Figures {
  const parts = samples.map(({ decode }) => decode);
  const total = (of: (part: ReplaySamples["decode"]) => number) => sum(parts.map(of));
  const tokens = total(({ milliseconds }) => milliseconds.length);
  const asked = total(({ decisions }) => decisions!.asked);
  return {
    tokensPerSecond: (tokens / total(({ milliseconds }) => sum(milliseconds))) * 1000,
    hits: asked === 0 ? 1 : total(({ decisions }) => decisions!.hits) / asked,
    readMegabytes: total(({ experts }) => experts!.bytes) / 1e6 / tokens,
    stallMs: total(({ experts }) => experts!.stallMs) / tokens,
    decidedMs: total(({ decisions }) => decisions!.decidedMs) / tokens,
    besideMs: total(({ decisions }) => decisions!.besideMs) / tokens,
  };
}
