import assert from "node:assert/strict";
import { it } from "node:test";
import { crc32 as expected } from "node:zlib";
import { crc32 } from "./checksum.ts";

it("crc32 is that of node:zlib, at any size and offset, several at once", async () => {
  const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7919) >> 3);
  const pieces = [0, 1, 63, 64, 4096, 100_001, 299_990].map((size) => bytes.subarray(3, 3 + size));
  assert.deepEqual(
    await Promise.all(pieces.map(crc32)),
    pieces.map((piece) => expected(piece)),
  );
});

it("crc32 takes more calls at once than there may be native ones", async () => {
  const sums = await Promise.all(Array.from({ length: 1000 }, () => crc32(new Uint8Array(10_000).fill(7))));
  assert.deepEqual([...new Set(sums)], [expected(new Uint8Array(10_000).fill(7))]);
});
