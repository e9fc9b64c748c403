import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Utf8Stream } from "./utf8.ts";

/** Every byte that some rule of UTF-8 singles out, so that short strings hit the rules. */
const tellingByte = fc.constantFrom(
  ...[0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe2],
  ...[0xed, 0xef, 0xbb, 0xf0, 0xf3, 0xf4, 0xf5, 0xff],
);
const wellFormed = fc.string({ unit: "binary" }).map((text) => [...new TextEncoder().encode(text)]);
const byteStrings = fc.oneof(
  fc.array(tellingByte, { maxLength: 12 }),
  fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 20 }),
  wellFormed,
  wellFormed.map((bytes) => [0xef, 0xbb, 0xbf, ...bytes]),
);

/** Cuts `bytes` after each position whose flag is set. */
function cut(bytes: number[], flags: boolean[]): number[][] {
  const chunks: number[][] = [[]];
  bytes.forEach((byte, i) => {
    chunks.at(-1)!.push(byte);
    if (flags[i % flags.length]) chunks.push([]);
  });
  return chunks;
}

test("pushes and flush joined are what TextDecoder makes of all the bytes, for every cutting", () => {
  const flags = fc.array(fc.boolean(), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(byteStrings, flags, (bytes, flags) => {
      const stream = new Utf8Stream();
      const text = cut(bytes, flags)
        .map((chunk) => stream.push(Uint8Array.from(chunk)))
        .join("");
      assert.equal(text + stream.flush(), new TextDecoder().decode(Uint8Array.from(bytes)));
    }),
    { numRuns: 50_000 },
  );
});

test("well-formed text comes out character by character, none halved and none late", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary" }).filter((s) => !s.startsWith("\ufeff")),
      (text) => {
        const stream = new Utf8Stream();
        for (const character of text) {
          const bytes = new TextEncoder().encode(character);
          for (const byte of bytes.subarray(0, -1)) assert.equal(stream.push(Uint8Array.of(byte)), "");
          assert.equal(stream.push(bytes.subarray(-1)), character);
        }
        assert.equal(stream.flush(), "");
      },
    ),
  );
});

test("the memory of a pushed buffer may be used again", () => {
  for (const bytes of [Uint8Array.of(0xe2, 0x82), Buffer.from([0xe2, 0x82])]) {
    const stream = new Utf8Stream();
    stream.push(bytes);
    bytes.fill(0x41);
    assert.equal(stream.push(Uint8Array.of(0xac)), "€");
  }
});

test("invalid bytes come out once they cannot begin a character", () => {
  const stream = new Utf8Stream();
  assert.equal(stream.push(Uint8Array.of(0x80)), "\ufffd");
  assert.equal(stream.push(Uint8Array.of(0xe2, 0x82, 0x61)), "\ufffda");
  assert.equal(stream.push(Uint8Array.of(0xff)), "");
  assert.equal(stream.push(Uint8Array.of(0x62)), "\ufffdb");
});

test("flush ends the stream, and the next one starts anew", () => {
  const stream = new Utf8Stream();
  assert.equal(stream.push(Uint8Array.of(0x61, 0xf0, 0x9f)), "a");
  assert.equal(stream.flush(), "\ufffd");
  assert.equal(stream.push(Uint8Array.of(0xef, 0xbb, 0xbf, 0x62)), "b");
  assert.equal(stream.flush(), "");
});
