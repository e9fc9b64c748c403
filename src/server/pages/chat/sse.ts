/** An event of a stream of server-sent events. */
export interface SseEvent {
  /** "message" unless it is named. */
  readonly event: string;
  readonly data: string;
}

/** Cuts a stream of server-sent events into events, wherever its pieces were cut. */
export class SseParser {
  #rest = "";
  #event = "";
  #data: string[] = [];

  push(piece: string): SseEvent[] {
    const text = this.#rest + piece;
    // A CR at the end may be half of a line end.
    const complete = text.endsWith("\r") ? text.length - 1 : text.length;
    const lines = text.slice(0, complete).split(/\r\n|\r|\n/);
    this.#rest = (lines.pop() ?? "") + text.slice(complete);
    return lines.flatMap((line) => this.#line(line));
  }

  #line(line: string): SseEvent[] {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    if (field === "data") this.#data.push(value);
    return [];
  }

  #dispatch(): SseEvent[] {
    const events =
      this.#data.length > 0 ? [{ event: this.#event || "message", data: this.#data.join("\n") }] : [];
    this.#event = "";
    this.#data = [];
    return events;
  }
}

/** The events of a body, until it ends. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<SseEvent> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
