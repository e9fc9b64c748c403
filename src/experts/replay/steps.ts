import type { RoutedToken } from "../policies/policy.ts";
import { probabilities, type RoutingLog } from "../trace/routing-log.ts";

/** One step of a trace: tokens that ran together. */
export interface ReplayStep {
  /** Rows of the log. */
  readonly rows: readonly number[];
  /** Whether every token was decoded; else there are prompts among them. */
  readonly decoding: boolean;
}

/** The steps of a log, in order. */
export function stepsOf(log: RoutingLog): ReplayStep[] {
  const steps: ReplayStep[] = [];
  for (let first = 0; first < log.count; ) {
    let end = first + 1;
    while (end < log.count && log.step[end] === log.step[first]) end++;
    const rows = Array.from({ length: end - first }, (_, index) => first + index);
    steps.push({ rows, decoding: rows.every((row) => log.decoded[row] === 1) });
    first = end;
  }
  return steps;
}

/** The experts that a step uses in a layer, each once. */
export function usedExperts(log: RoutingLog, { rows }: ReplayStep, layer: number): number[] {
  const found = new Set<number>();
  for (const row of rows) for (const expert of chosenOf(log, row, layer)) found.add(expert);
  return [...found];
}

/** The experts that the routers of a step at `layer` expect in the next; none where the log does not tell. */
export function guessedExperts(log: RoutingLog, { rows }: ReplayStep, layer: number): number[] {
  const { guessed, layers, used } = log;
  if (!guessed || layer === layers - 1) return [];
  const found = new Set<number>();
  for (const row of rows) {
    const start = (row * layers + layer) * used;
    for (const expert of guessed.subarray(start, start + used)) found.add(expert);
  }
  return [...found];
}

/** What a layer shows of the tokens of a step. */
export function routedTokens(log: RoutingLog, { rows }: ReplayStep, layer: number): RoutedToken[] {
  const { scores } = log;
  return rows.map((row) => {
    const all = new Float32Array(log.experts);
    const chosen = chosenOf(log, row, layer);
    if (scores) probabilities({ ...log, scores }, row, layer, all);
    else for (const expert of chosen) all[expert] = 1 / log.used;
    return { request: log.request[row]!, token: log.token[row]!, chosen, probabilities: all };
  });
}

function chosenOf({ chosen, layers, used }: RoutingLog, row: number, layer: number): Uint16Array {
  const start = (row * layers + layer) * used;
  return chosen.subarray(start, start + used);
}
