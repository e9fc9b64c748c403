const lineFeed = 10;
const carriageReturn = 13;
const nothing = Buffer.alloc(0);

/** What is called for each event: its data, and the type that its `event:` field gave it; "" without one. */
export type OnServerSentEvent = (data: string, type: string) => void;

/**
 * Reads a stream of server-sent events out of chunks that may be cut anywhere, also within a character. Lines end with LF,
 * CRLF or CR; comments and unknown fields are skipped; several `data:` lines of one event are joined with LF. An event
 * that the end of the stream cuts off is none.
 */
export class SseParser {
  readonly #onEvent: OnServerSentEvent;
  readonly #limit: number;
  /** The beginning of a line whose end has not come yet. */
  #partial: Buffer = nothing;
  #endedByReturn = false;
  #isFirstLine = true;
  #type = "";
  #data: string | undefined;

  /** @param limit - The most bytes of one line, and the most characters of one event's data. */
  constructor(onEvent: OnServerSentEvent, limit = 4 * 1024 * 1024) {
    this.#onEvent = onEvent;
    this.#limit = limit;
  }

  /**
   * Takes the next bytes; calls back for each event that they complete.
   *
   * @throws RangeError when a line or an event is longer than the limit; the stream cannot be read on then.
   */
  push(chunk: Buffer): void {
    let start = 0;
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index];
      if (byte !== lineFeed && byte !== carriageReturn) continue;
      const completesReturn =
        byte === lineFeed && this.#endedByReturn && index === start && this.#partial.length === 0;
      this.#endedByReturn = byte === carriageReturn;
      if (!completesReturn) this.#line(this.#complete(chunk.subarray(start, index)).toString("utf8"));
      start = index + 1;
    }
    if (start < chunk.length) this.#partial = this.#complete(chunk.subarray(start));
  }

  /** `end` behind what was held of the line; nothing is held afterwards. */
  #complete(end: Buffer): Buffer {
    if (this.#partial.length + end.length > this.#limit)
      throw new RangeError(`a line of the stream has more than ${this.#limit} bytes`);
    const line = this.#partial.length === 0 ? end : Buffer.concat([this.#partial, end]);
    this.#partial = nothing;
    return line;
  }

  #line(line: string): void {
    const text = this.#isFirstLine && line.startsWith("\ufeff") ? line.slice(1) : line;
    this.#isFirstLine = false;
    if (text === "") this.#dispatch();
    else this.#field(text);
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    if (name !== "data" && name !== "event") return;
    const from = colon === -1 ? line.length : colon + (line[colon + 1] === " " ? 2 : 1);
    if (name === "event") this.#type = line.slice(from);
    else this.#append(line.slice(from));
  }

  #append(value: string): void {
    this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    if (this.#data.length > this.#limit)
      throw new RangeError(`an event of the stream has more than ${this.#limit} characters`);
  }

  #dispatch(): void {
    const data = this.#data;
    const type = this.#type;
    this.#data = undefined;
    this.#type = "";
    if (data !== undefined) this.#onEvent(data, type);
  }
}
