import assert from "node:assert/strict";
import type { FinishEvent, Sequence, TokenEvent } from "../src/engine/sequence.ts";

/** All that a sequence said. */
export interface Collected {
  readonly text: string;
  readonly events: readonly TokenEvent[];
  readonly finish: FinishEvent;
}

/** Reads a sequence to its end. */
export async function collect(sequence: Sequence, onToken?: (count: number) => void): Promise<Collected> {
  const events: TokenEvent[] = [];
  let finish: FinishEvent | undefined;
  let text = "";
  for await (const event of sequence) {
    assert.equal(finish, undefined, "nothing follows the finish");
    text += event.text;
    if (event.type === "finish") finish = event;
    else {
      events.push(event);
      onToken?.(events.length);
    }
  }
  assert.ok(finish, "the last event is the finish");
  assert.ok(finish.generatedTokens - events.length <= 1, "an event a token; none for an end token");
  return { text, events, finish };
}

/**
 * Two greedy runs of one prompt, with `logprobs: 2`, whose steps were composed differently: equal, or apart for the
 * first time where the two best logits are closer than `tolerance`. Up to there, log-probabilities are that close
 * everywhere, and ten times closer in the mean.
 */
export function assertSameGreedy(a: Collected, b: Collected, tolerance: number): void {
  const length = Math.min(a.events.length, b.events.length);
  const parting = a.events.findIndex(({ token }, index) => token !== b.events[index]?.token);
  const common = parting < 0 ? length : parting;
  let sum = 0;
  for (let index = 0; index < common; index++) {
    const apart = Math.abs(a.events[index]!.logprob! - b.events[index]!.logprob!);
    assert.ok(apart < tolerance, `token ${index}: log-probabilities ${apart} apart`);
    sum += apart;
  }
  if (common > 0)
    assert.ok(sum / common < tolerance / 10, `log-probabilities ${sum / common} apart in the mean`);
  if (parting < 0) {
    assert.equal(a.text, b.text);
    assert.equal(a.events.length, b.events.length);
    return;
  }
  for (const { events } of [a, b]) {
    const [best, second] = events[parting]!.top!;
    const gap = best!.logprob - second!.logprob;
    assert.ok(gap < tolerance, `token ${parting} differs at a gap of ${gap} between the two best`);
  }
}
