import type { AdapterSet } from "./lora/adapters.ts";

/** The part of one sequence in a step: its new tokens are neighbours in the batch, its KV cells neighbours too. */
export interface StepSequence {
  /** New tokens, at least 1. */
  readonly tokens: number;
  /** First KV cell of the sequence. */
  readonly firstCell: number;
  /** Cells that attention looks at, from the first on: a multiple of {@link keyStep} that covers the new tokens. */
  readonly keys: number;
  /** How many of its tokens need logits; 1 by default. */
  readonly outputs?: number | undefined;
  /** What is added to the weights for it; none for the model as it is. */
  readonly adapters?: AdapterSet | undefined;
}

/** What decides a step's graph; steps of equal shape share one. */
export interface StepShape {
  readonly sequences: readonly StepSequence[];
  /** How many of the tokens give an output: logits or their final state. At least 1. */
  readonly outputs: number;
  /** Of the outputs, the last so many are states [width] in place of logits. Default 0. */
  readonly states?: number;
}

/** KV lengths are rounded up to this, so that a graph serves many steps. */
export const keyStep = 256;

export function tokenCount(shape: StepShape): number {
  return shape.sequences.reduce((total, { tokens }) => total + tokens, 0);
}

/**
 * The same step for layers in which tokens see no more than `window` of the latest: without the cells, whole steps of
 * keys, that lie before what its first token sees. Depends on the shape alone, so that a graph serves as many steps.
 */
export function windowShape(shape: StepShape, window: number): StepShape {
  const sequences = shape.sequences.map((sequence) => {
    const { tokens, keys, firstCell } = sequence;
    const leastPast = keys - keyStep + 1 - tokens;
    const hidden = Math.max(0, Math.floor((leastPast + 1 - window) / keyStep)) * keyStep;
    return { ...sequence, firstCell: firstCell + hidden, keys: keys - hidden };
  });
  return { ...shape, sequences };
}

/** Whether steps of both shapes can use the same graph. */
export function sameShape(a: StepShape, b: StepShape): boolean {
  if (a.outputs !== b.outputs || (a.states ?? 0) !== (b.states ?? 0)) return false;
  if (a.sequences.length !== b.sequences.length) return false;
  return a.sequences.every((sequence, index) => {
    const other = b.sequences[index]!;
    return (
      sequence.tokens === other.tokens &&
      sequence.firstCell === other.firstCell &&
      sequence.keys === other.keys &&
      (sequence.outputs ?? 1) === (other.outputs ?? 1) &&
      sequence.adapters?.key === other.adapters?.key
    );
  });
}

/** ggml splits the keys of a single row over its threads from here on: then it sums in another order. */
const splitKeys = 512;

/**
 * How many cells apart the sequences of a decode step lie, when one attention call can serve them all with the very
 * numbers that each would get alone: equally far from one another, and with equally many keys, not too many.
 */
export function commonStride({ sequences }: StepShape): number | undefined {
  const [first, second] = sequences;
  if (!first || !second || first.keys >= splitKeys) return undefined;
  const stride = second.firstCell - first.firstCell;
  const regular = sequences.every(
    ({ tokens, keys, firstCell }, index) =>
      tokens === 1 && keys === first.keys && firstCell === first.firstCell + index * stride,
  );
  return regular && stride > 0 ? stride : undefined;
}
