import type { Duplex } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { z } from "zod";
import { StowageError } from "../../errors.ts";

/** Longest line, UTF-16 units: the longest chat that a template takes, with room for escapes. */
const maxLine = 64 * 1024 * 1024;
/** How much of a bad message an error shows, characters. */
const shown = 200;

/** What a side does with what it hears. */
export interface LinkListener<In> {
  message(message: In): void;
  /** A line that is no message: nothing after it can be trusted. Called once; the stream is then destroyed. */
  malformed(error: StowageError): void;
  /** The other side is gone, or the stream broke. Called once, and always. */
  closed(): void;
}

/** Typed messages over a stream, one JSON object a line, each checked against a schema as it arrives. */
export class Link<In, Out> {
  readonly #stream: Duplex;
  readonly #schema: z.ZodType<In>;
  readonly #listener: LinkListener<In>;
  /** Parts of a line whose end has not come yet. */
  #parts: string[] = [];
  #partsLength = 0;

  constructor(stream: Duplex, schema: z.ZodType<In>, listener: LinkListener<In>) {
    this.#stream = stream;
    this.#schema = schema;
    this.#listener = listener;
    // Not `setEncoding`: with it, some streams stop at a piece that ends no character.
    const decoder = new StringDecoder("utf8");
    stream.on("data", (bytes: Buffer) => this.#read(decoder.write(bytes)));
    // What an error means is told by the close that follows it.
    stream.on("error", () => {});
    stream.once("end", () => stream.destroy());
    stream.once("close", () => listener.closed());
  }

  /** Queues a message; one that the other side does not live to read is dropped. */
  send(message: Out): void {
    if (this.#stream.writable) this.#stream.write(`${JSON.stringify(message)}\n`);
  }

  close(): void {
    this.#stream.destroy();
  }

  #read(text: string): void {
    let from = 0;
    for (;;) {
      const end = text.indexOf("\n", from);
      if (end < 0) break;
      const line = this.#parts.join("") + text.slice(from, end);
      this.#parts = [];
      this.#partsLength = 0;
      from = end + 1;
      if (!this.#handle(line)) return;
    }
    if (from === text.length) return;
    this.#parts.push(text.slice(from));
    this.#partsLength += text.length - from;
    if (this.#partsLength > maxLine) this.#refuse(`a line of more than ${maxLine} characters`);
  }

  /** @returns whether it was a message */
  #handle(line: string): boolean {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return this.#refuse(`no JSON: ${line.slice(0, shown)}`);
    }
    const result = this.#schema.safeParse(value);
    if (!result.success) {
      const { path, message } = result.error.issues[0]!;
      return this.#refuse(`${path.join(".") || "it"}: ${message}: ${line.slice(0, shown)}`);
    }
    this.#listener.message(result.data);
    return !this.#stream.destroyed;
  }

  #refuse(reason: string): false {
    this.#listener.malformed(new StowageError("message_malformed", { reason }));
    this.#stream.destroy();
    return false;
  }
}
