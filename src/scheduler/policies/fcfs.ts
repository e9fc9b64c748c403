import type { SchedulingPolicy, SequenceView, Share, StepLimits } from "../plan.ts";

/**
 * First come, first served, as continuous batching has it: every decoding sequence gets its token, what is left of
 * the budget goes to prefills in the order of arrival, in chunks. (Orca, OSDI 2022; chunks as in Sarathi-Serve,
 * OSDI 2024.)
 */
export class FirstComeFirstServed implements SchedulingPolicy {
  readonly name = "fcfs";

  plan(_now: number, running: readonly SequenceView[], limits: StepLimits): Share[] {
    const byArrival = [...running].sort((a, b) => a.arrived - b.arrived || a.id - b.id);
    const decoding = byArrival.filter(({ pending }) => pending === 1);
    const prefilling = byArrival.filter(({ pending }) => pending > 1);
    const shares: Share[] = [];
    let left = limits.tokens;
    for (const { id, pending } of [...decoding, ...prefilling]) {
      if (left === 0) break;
      const tokens = Math.min(pending, left);
      shares.push({ id, tokens });
      left -= tokens;
    }
    return shares;
  }
}
