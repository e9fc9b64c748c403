import type { SchedulingPolicy, SequenceView, Share, StepLimits } from "../plan.ts";

/**
 * First come, first served, each sequence whole in one step: for models in which every token sees all others, and that
 * keep nothing from step to step. A sequence is never longer than a step.
 */
export class WholeSequences implements SchedulingPolicy {
  readonly name = "whole";

  plan(_now: number, running: readonly SequenceView[], limits: StepLimits): Share[] {
    const byArrival = [...running].sort((a, b) => a.arrived - b.arrived || a.id - b.id);
    const shares: Share[] = [];
    let left = limits.tokens;
    for (const { id, pending } of byArrival) {
      if (pending > left) break;
      shares.push({ id, tokens: pending });
      left -= pending;
    }
    return shares;
  }
}
