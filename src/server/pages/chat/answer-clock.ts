import type { AnswerStats, Usage } from "./conversation.ts";

/** Measures an answer as its reader sees it. It is told the time, in ms. */
export class AnswerClock {
  #asked: number;
  #first: number | undefined;
  #last: number | undefined;
  #pieces = 0;

  constructor(now: number) {
    this.#asked = now;
  }

  /** The request is sent again: what was waited for before it does not count. */
  restart(now: number): void {
    this.#asked = now;
  }

  /** A piece of text came. */
  piece(now: number): void {
    this.#first ??= now;
    this.#last = now;
    this.#pieces += 1;
  }

  /** The first token is not in the rate: it has a time of its own. */
  stats(now: number, usage: Usage | undefined): AnswerStats {
    const first = this.#first;
    const last = this.#last ?? now;
    const tokens = (usage?.generatedTokens ?? this.#pieces) - 1;
    const rate =
      first !== undefined && last > first && tokens > 0 ? (tokens / (last - first)) * 1000 : undefined;
    return {
      total: now - this.#asked,
      ...(first !== undefined && { timeToFirstToken: first - this.#asked }),
      ...(rate !== undefined && { tokensPerSecond: rate }),
      ...(usage !== undefined && { usage }),
    };
  }
}
