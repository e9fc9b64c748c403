import type { RoutedToken, StepToken } from "../policies/policy.ts";
import { isShort } from "../short-steps.ts";
import { probabilities, type RoutingLog } from "../trace/routing-log.ts";

/** One step of a trace: tokens that ran together. */
export interface ReplayStep {
  /** Rows of the log. */
  readonly rows: readonly number[];
  /** Whether every token was decoded; else there are prompts among them. */
  readonly decoding: boolean;
  /** Whether it asks for experts as decode steps do; long prompts go through nearly all. */
  readonly short: boolean;
  /** What its layers use and show, once it was asked for: many policies run over the same steps. */
  readonly known: { used: number[][]; routed: RoutedToken[][]; tokens?: StepToken[] };
}

/** The steps of a log, in order. */
export function stepsOf(log: RoutingLog): ReplayStep[] {
  const steps: ReplayStep[] = [];
  for (let first = 0; first < log.count; ) {
    let end = first + 1;
    while (end < log.count && log.step[end] === log.step[first]) end++;
    const rows = Array.from({ length: end - first }, (_, index) => first + index);
    const decoding = rows.every((row) => log.decoded[row] === 1);
    steps.push({ rows, decoding, short: isShort(rows.length, log), known: { used: [], routed: [] } });
    first = end;
  }
  return steps;
}

/** The experts that a step uses in a layer, each once. */
export function usedExperts(log: RoutingLog, step: ReplayStep, layer: number): readonly number[] {
  step.known.used[layer] ??= usedByRows(log, step.rows, layer);
  return step.known.used[layer];
}

/** The experts that some tokens use in a layer, each once. */
export function usedByRows(log: RoutingLog, rows: readonly number[], layer: number): number[] {
  const found = new Set<number>();
  for (const row of rows) for (const expert of chosenOf(log, row, layer)) found.add(expert);
  return [...found];
}

/**
 * What the router of a layer was expected to choose for a step: `guessed` on the residual stream of the layer before,
 * `early` on the layer's own before attention; none where the log does not tell.
 */
export function guessedExperts(
  log: RoutingLog,
  { rows }: ReplayStep,
  layer: number,
  kind: "guessed" | "early",
): number[] {
  const { layers, used } = log;
  const guesses = log[kind];
  const at = kind === "guessed" ? layer - 1 : layer;
  if (!guesses || at < 0) return [];
  const found = new Set<number>();
  for (const row of rows) {
    const start = (row * layers + at) * used;
    for (const expert of guesses.subarray(start, start + used)) found.add(expert);
  }
  return [...found];
}

/** The tokens of a step. */
export function stepTokens(log: RoutingLog, { rows, known }: ReplayStep): readonly StepToken[] {
  known.tokens ??= rows.map((row) => tokenOf(log, row));
  return known.tokens;
}

/** What a layer shows of the tokens of a step. @param withProbabilities of a log without scores, those of the choice */
export function routedTokens(
  log: RoutingLog,
  { rows, known }: ReplayStep,
  layer: number,
  withProbabilities: boolean,
): readonly RoutedToken[] {
  known.routed[layer] ??= rows.map((row) => ({ ...tokenOf(log, row), chosen: chosenOf(log, row, layer) }));
  if (!withProbabilities) return known.routed[layer];
  return known.routed[layer].map((token, index) => ({
    ...token,
    probabilities: probabilitiesOf(log, rows[index]!, layer),
  }));
}

function tokenOf(log: RoutingLog, row: number): StepToken {
  return { request: log.request[row]!, token: log.token[row]!, position: log.position[row]! };
}

function probabilitiesOf(log: RoutingLog, row: number, layer: number): Float32Array {
  const all = new Float32Array(log.experts);
  const { scores } = log;
  if (scores) probabilities({ ...log, scores }, row, layer, all);
  else for (const expert of chosenOf(log, row, layer)) all[expert] = 1 / log.used;
  return all;
}

function chosenOf({ chosen, layers, used }: RoutingLog, row: number, layer: number): Uint16Array {
  const start = (row * layers + layer) * used;
  return chosen.subarray(start, start + used);
}
