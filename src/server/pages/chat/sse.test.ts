import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { readEvents, type SseEvent, SseParser } from "./sse.ts";

describe("SseParser", () => {
  it("reads events, names, several lines of data, comments and every line end", () => {
    const stream =
      ": hello\n\ndata: a\n\nevent: error\ndata: b\ndata:  c\n\nid: 7\rdata:d\r\rdata: e\r\n\r\ndata\n\n";
    assert.deepEqual(new SseParser().push(stream), [
      { event: "message", data: "a" },
      { event: "error", data: "b\n c" },
      { event: "message", data: "d" },
      { event: "message", data: "e" },
      { event: "message", data: "" },
    ]);
  });

  it("gives no event that has not ended", () => {
    assert.deepEqual(new SseParser().push("data: a\n"), []);
  });

  it("gives the same events however the stream is cut", () => {
    const lines = fc.constantFrom("data: x", "data: ä {}", ": ping", "event: e", "", "", "data", "dat");
    const streams = fc
      .tuple(fc.array(lines), fc.constantFrom("\n", "\r\n"))
      .map(([parts, end]) => parts.map((line) => line + end).join(""));
    fc.assert(
      fc.property(streams, fc.integer({ min: 1, max: 5 }), (stream, size) => {
        const parser = new SseParser();
        const pieces = stream.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
        assert.deepEqual(
          pieces.flatMap((piece) => parser.push(piece)),
          new SseParser().push(stream),
        );
      }),
    );
  });
});

describe("readEvents", () => {
  it("joins characters that were cut in the middle", async () => {
    const bytes = new TextEncoder().encode("data: ä漢😀\n\n");
    const body = ReadableStream.from([...bytes].map((byte) => Uint8Array.of(byte)));
    const events: SseEvent[] = [];
    for await (const event of readEvents(body as ReadableStream<Uint8Array>)) events.push(event);
    assert.deepEqual(events, [{ event: "message", data: "ä漢😀" }]);
  });
});
