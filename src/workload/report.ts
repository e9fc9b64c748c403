import type { Machine } from "./machine.ts";

/** A value as it stands in a report. */
export type Cell = string | number | boolean | null;

/** One requirement on a measured value. */
export interface Check {
  readonly name: string;
  /** The measured value; null when it could not be measured. */
  readonly value: number | null;
  /** Unit of the value and of the goal, such as "tokens/s", "ms" or "x" for a ratio. */
  readonly unit: string;
  /** What the value must be, such as ">= 1.00". */
  readonly goal: string;
  readonly ok: boolean;
}

/** What every `bench` and `lab` command hands back. */
export interface Report {
  readonly machine: Machine;
  /** What was measured, under which flags. */
  readonly settings: Readonly<Record<string, Cell>>;
  /** One row for each measurement; units are part of the names, such as `decode_tokens_per_s`. */
  readonly results: readonly Readonly<Record<string, Cell>>[];
  readonly checks: readonly Check[];
  /** What the results mean, a sentence or two each. */
  readonly notes?: readonly string[];
}

const comparisons = {
  ">=": (value: number, goal: number) => value >= goal,
  "<=": (value: number, goal: number) => value <= goal,
  ">": (value: number, goal: number) => value > goal,
  "<": (value: number, goal: number) => value < goal,
  "==": (value: number, goal: number) => value === goal,
} as const;

export type Comparison = keyof typeof comparisons;

/**
 * Compares a measured value with its goal.
 *
 * @param value - The measured value; null or NaN when it could not be measured, which is never ok.
 */
export function check(
  name: string,
  value: number | null,
  unit: string,
  comparison: Comparison,
  goal: number,
): Check {
  const measured = value === null || Number.isNaN(value) ? null : value;
  const ok = measured !== null && comparisons[comparison](measured, goal);
  return { name, value: measured, unit, goal: `${comparison} ${withTwoDecimals(goal)}`, ok };
}

/** A value that has no goal: it is told, and ok when it could be measured. */
export function reported(name: string, value: number | null, unit: string): Check {
  const measured = value === null || Number.isNaN(value) ? null : value;
  return { name, value: measured, unit, goal: "reported", ok: measured !== null };
}

/** 0 when every check is ok, 1 when one falls short, 2 when one could not be measured. */
export function exitCodeOfReport(report: Report): 0 | 1 | 2 {
  if (report.checks.some(({ value }) => value === null)) return 2;
  return report.checks.every(({ ok }) => ok) ? 0 : 1;
}

/** The report as one JSON object, for programs. */
export function reportJson({ machine, settings, results, checks, notes }: Report): string {
  const all = { machine, settings, results, checks, ...(notes && { notes }) };
  return `${JSON.stringify(all, null, 2)}\n`;
}

/** At least two decimals, and never fewer than the number has. */
function withTwoDecimals(value: number): string {
  const shortest = String(value);
  return /\.\d\d|e/.test(shortest) ? shortest : value.toFixed(2);
}
