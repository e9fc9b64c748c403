import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import type { TokenLogprob } from "../sampling/logprobs.ts";
import type { TokenEvent } from "../sequence.ts";
import type { SequenceNews, WireLogprob } from "./messages.ts";

/** What sequences have to say, gathered so that a step's tokens go out as one message. */
export class Outbox {
  readonly #send: (events: SequenceNews[]) => void;
  #events: SequenceNews[] = [];

  constructor(send: (events: SequenceNews[]) => void) {
    this.#send = send;
  }

  add(event: SequenceNews): void {
    // The sequences of a step are told of their tokens in one go, each by a promise of its own; a tick comes after all of
    // those, and before the next step, which may take the thread for its whole length.
    if (this.#events.length === 0) process.nextTick(() => this.#flush());
    this.#events.push(event);
  }

  #flush(): void {
    const events = this.#events;
    this.#events = [];
    this.#send(events);
  }
}

/** A token for the wire. */
export function newsOf(id: number, event: TokenEvent, tokenizer: Tokenizer): SequenceNews {
  const { token, text, logprob, top } = event;
  if (!top) return { type: "token", id, text };
  const wire = (entry: TokenLogprob): WireLogprob => ({
    token: entry.token,
    bytes: [...tokenizer.pieceBytes(entry.token)],
    logprob: Number.isFinite(entry.logprob) ? entry.logprob : null,
  });
  const chosen = wire({ token, logprob: logprob ?? Number.NaN });
  return { type: "token", id, text, chosen, top: top.map(wire) };
}
