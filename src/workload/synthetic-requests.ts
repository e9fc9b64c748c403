import { Random } from "./random.ts";
import type { PlannedRequest } from "./traces/shape.ts";

/** A number of tokens: any from the least to the most, all alike. */
export interface Lengths {
  readonly least: number;
  readonly most: number;
}

export interface SyntheticRequests {
  readonly input: Lengths;
  readonly output: Lengths;
  readonly seed: number;
  /** How many; Infinity for no end. */
  readonly count: number;
}

/** Requests of drawn lengths, due at once. They can be gone through again, and are the same then. */
export function syntheticRequests({
  input,
  output,
  seed,
  count,
}: SyntheticRequests): Iterable<PlannedRequest> {
  return {
    *[Symbol.iterator]() {
      const random = new Random(seed, 3);
      for (let index = 0; index < count; index++) {
        const inputTokens = random.integer(input.least, input.most);
        yield { at: 0, inputTokens, outputTokens: random.integer(output.least, output.most) };
      }
    },
  };
}

/** The same requests, due at these times; as many as there are of the fewer. */
export function dueAt(
  requests: Iterable<PlannedRequest>,
  times: () => Iterable<number>,
): Iterable<PlannedRequest> {
  return {
    *[Symbol.iterator]() {
      const source = requests[Symbol.iterator]();
      for (const at of times()) {
        const next = source.next();
        if (next.done) return;
        yield { ...next.value, at };
      }
    },
  };
}
