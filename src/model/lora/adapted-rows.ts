import { type StepShape, tokenCount } from "../step.ts";
import type { AdapterSet } from "./adapters.ts";

/** Neighbouring rows of a step's activations that one set of adapters is added to. */
export interface AdaptedRows {
  readonly first: number;
  readonly count: number;
  /** Whether each row is a sequence's only one: then they are multiplied one by one, as each would be alone. */
  readonly apart: boolean;
  readonly set: AdapterSet;
}

/**
 * Which rows of a step have adapters. Rows of a sequence are never multiplied together with those of another, so that
 * neighbours in the batch do not change a sequence's numbers.
 * @param rows of the activations: one for each token, or one for each that needs logits
 */
export function adaptedRows(shape: StepShape, rows: number): AdaptedRows[] {
  const all = rows === tokenCount(shape);
  const found: AdaptedRows[] = [];
  let first = 0;
  for (const sequence of shape.sequences) {
    const { tokens, outputs = 1, adapters: set } = sequence;
    const count = all ? tokens : outputs;
    if (count === 0) continue;
    const last = found.at(-1);
    if (set && count === 1 && last?.apart && last.set.key === set.key && last.first + last.count === first) {
      found[found.length - 1] = { ...last, count: last.count + 1 };
    } else if (set) {
      found.push({ first, count, apart: count === 1, set });
    }
    first += count;
  }
  return found;
}
