import type { Status } from "../../schemas/status.ts";

/** Over how long a request's speed is averaged, ms. */
const windowMs = 3000;

interface Mark {
  readonly time: number;
  readonly tokens: number;
}

/** How fast each live request generates. Pure: it is told each status as it comes. */
export class RequestRates {
  #marks = new Map<string, Mark[]>();

  push(status: Status): void {
    const marks = new Map<string, Mark[]>();
    for (const { id, generated_tokens } of status.requests.live) {
      const kept = (this.#marks.get(id) ?? []).filter(({ time }) => time >= status.now - windowMs);
      marks.set(id, [...kept, { time: status.now, tokens: generated_tokens }]);
    }
    this.#marks = marks;
  }

  /** Tokens a second; undefined before two statuses showed it generating. */
  of(id: string): number | undefined {
    const marks = this.#marks.get(id)?.filter(({ tokens }) => tokens > 0) ?? [];
    const first = marks[0];
    const last = marks.at(-1);
    if (first === undefined || last === undefined || last.time <= first.time) return undefined;
    return ((last.tokens - first.tokens) / (last.time - first.time)) * 1000;
  }
}
