import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SseParser } from "./sse-parser.ts";

type Event = readonly [data: string, type: string];

function parse(chunks: readonly (string | Buffer)[], limit?: number): Event[] {
  const events: Event[] = [];
  const parser = new SseParser((data, type) => events.push([data, type]), limit);
  for (const chunk of chunks) parser.push(Buffer.from(chunk as string));
  return events;
}

describe("SseParser", () => {
  for (const [name, text, expected] of [
    ["one event", "data: a\n\n", [["a", ""]]],
    ["CRLF, CR and LF", "data: a\r\n\r\ndata: b\r\rdata: c\n\n", ["a", "b", "c"].map((data) => [data, ""])],
    ["comments and fields that say nothing", ": ping\n\nid: 7\nretry: 10\nfoo\ndata: a\n\n", [["a", ""]]],
    ["several lines of data", "data: a\ndata:  b\ndata\ndata:c\n\n", [["a\n b\n\nc", ""]]],
    [
      "an event's type, for that event alone",
      "event: error\ndata: a\n\ndata: b\n\n",
      [
        ["a", "error"],
        ["b", ""],
      ],
    ],
    ["empty data, but no event without data", "data:\n\nevent: x\n\n\n", [["", ""]]],
    ["a byte order mark at the start alone", "\ufeffdata: \ufeffa\n\n", [["\ufeffa", ""]]],
    ["no event that the end cuts off", "data: a\n\ndata: b\n", [["a", ""]]],
    [
      "an empty line that is no half of a CRLF",
      "data: a\r\n\ndata: b\n\r\n",
      [
        ["a", ""],
        ["b", ""],
      ],
    ],
  ] as const) {
    it(`reads ${name}`, () => assert.deepEqual(parse([text]), expected));
  }

  it("gives the same however the bytes are cut", () => {
    const lines = fc.constantFrom(
      "data: ä€😀",
      "data:x",
      "data",
      ": note",
      "event: error",
      "id: 1",
      "",
      "",
      "",
    );
    const ends = fc.constantFrom("\n", "\r\n", "\r");
    const streams = fc.array(fc.tuple(lines, ends)).map((parts) => Buffer.from(parts.flat().join("")));
    fc.assert(
      fc.property(streams, fc.array(fc.nat({ max: 200 })), (bytes, at) => {
        const cuts = [0, ...at.filter((cut) => cut <= bytes.length).sort((a, b) => a - b), bytes.length];
        const chunks = cuts.slice(1).map((cut, index) => bytes.subarray(cuts[index], cut));
        const single = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
        assert.deepEqual(parse(chunks), parse([bytes]));
        assert.deepEqual(parse(single), parse([bytes]));
      }),
    );
  });

  it("gives back every text that was sent", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme" })), (texts) => {
        const sent = texts.map((text) => text.replaceAll("\r", ""));
        const stream = sent.map((text) => `${text.replaceAll(/^/gm, "data: ")}\n\n`).join("");
        assert.deepEqual(
          parse([stream]),
          sent.map((text) => [text, ""]),
        );
      }),
    );
  });

  it("refuses lines and events without end", () => {
    assert.equal(parse(["data: 12\n\n"], 8).length, 1);
    assert.throws(() => parse(["data: 123"], 8), RangeError);
    assert.throws(() => parse(["data: 1", "23"], 8), RangeError);
    assert.throws(() => parse(["data: 12\n".repeat(5)], 8), RangeError);
  });
});
