/** A sequence as a scheduling policy sees it. */
export interface SequenceView {
  readonly id: number;
  /** When it was submitted, ms of the engine's clock. */
  readonly arrived: number;
  /** Tokens whose keys and values are still to be computed: 1 while it decodes, more while it prefills. */
  readonly pending: number;
  /** All its tokens, those that are to be computed last; for policies that look at them. */
  readonly tokens?: readonly number[];
}

/** What a step may hold. */
export interface StepLimits {
  /** Tokens in a step, prefill and decode together. */
  readonly tokens: number;
}

/** Tokens of one sequence in the next step. */
export interface Share {
  readonly id: number;
  readonly tokens: number;
}

/**
 * Who runs in the next step. A policy holds no clock and does no I/O: time comes in, the shares go out. Every
 * share has at least 1 and at most the sequence's pending tokens; together they stay within the limits.
 */
export interface SchedulingPolicy {
  readonly name: string;
  plan(now: number, running: readonly SequenceView[], limits: StepLimits): Share[];
}
