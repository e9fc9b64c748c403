import assert from "node:assert/strict";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type ErrorCode, StowageError } from "../errors.ts";
import {
  alignment,
  architecture,
  array,
  entry,
  id,
  type RawTensor,
  raw,
  string,
  tensor,
  u32,
  u64,
} from "./raw-gguf.fixture.ts";
import { openGguf, readGguf } from "./read.ts";
import { memorySource } from "./source.ts";

const folder = await mkdtemp(join(tmpdir(), "gguf-malformed-"));
after(() => rm(folder, { recursive: true }));

/** Name, the file, the error's code, what its message names, and a size in bytes to grow the file to, with zeros. */
type Case = [name: string, bytes: Buffer, code: ErrorCode, field: string, size?: number];

const MiB = 1024 * 1024;
const withEntry = (...entries: Buffer[]) => raw({ entries: [architecture, ...entries] });
const two = (first: RawTensor, second: RawTensor, data = 64) =>
  raw({ tensors: [tensor({ name: "a", ...first }), tensor({ name: "b", offset: 32, ...second })], data });
const one = (parts: RawTensor, data = 32) => raw({ tensors: [tensor(parts)], data });
const good = raw();

const cases: Case[] = [
  ["empty file", Buffer.alloc(0), "gguf_truncated", "magic"],
  ["three bytes", good.subarray(0, 3), "gguf_truncated", "magic"],
  ["another format", raw({ magic: "PK\x03\x04" }), "gguf_bad_magic", "magic"],
  ["older format", raw({ magic: "tjgg" }), "gguf_bad_magic", "magic"],
  ["reversed magic", raw({ magic: "FUGG" }), "gguf_byte_order", "magic"],
  ["big endian", raw({ version: 0x03000000 }), "gguf_byte_order", "version"],
  ["version 0", raw({ version: 0 }), "gguf_version", "version"],
  ["version 1", raw({ version: 1 }), "gguf_version", "version"],
  ["version 4", raw({ version: 4 }), "gguf_version", "version"],
  ["cut within the version", good.subarray(0, 6), "gguf_truncated", "version"],
  ["cut within the counts", good.subarray(0, 12), "gguf_truncated", "tensor count"],
  ["cut within tensor data", good.subarray(0, -1), "gguf_extent", '"a"'],
  ["no tensors", raw({ tensors: [] }), "gguf_count", "tensor count"],
  ["too many tensors", raw({ tensorCount: 100 }), "gguf_count", "tensor count"],
  ["2^64-1 tensors", raw({ tensorCount: -1 }), "gguf_count", "tensor count"],
  ["too many entries", raw({ entryCount: 100 }), "gguf_count", "metadata count"],
  ["2^63 entries", raw({ entryCount: 2n ** 63n }), "gguf_count", "metadata count"],
  [
    "10 million entries that would fit",
    raw({ entryCount: 10_000_000 }),
    "gguf_count",
    "metadata count",
    200 * MiB,
  ],
  [
    "a million tensors that would fit",
    raw({ tensorCount: 1_000_000 }),
    "gguf_count",
    "tensor count",
    200 * MiB,
  ],
  ["empty key", withEntry(entry("", id.u8, Buffer.of(1))), "gguf_string", "entry 1"],
  [
    "key of 1,025 bytes",
    withEntry(entry("k".repeat(1025), id.u8, Buffer.of(1))),
    "gguf_string",
    "key of metadata entry 1",
  ],
  [
    "key past the end",
    raw({ entries: [Buffer.concat([u64(5000), Buffer.alloc(20)])] }),
    "gguf_string",
    "key of metadata entry 0",
  ],
  [
    "key that is not UTF-8",
    withEntry(entry(Buffer.of(0x61, 0xff), id.u8, Buffer.of(1))),
    "gguf_string",
    "key of metadata entry 1",
  ],
  [
    "key with an escape sequence",
    withEntry(entry("\x1b[2Jx", id.u8, Buffer.of(1))),
    "gguf_string",
    "key of metadata entry 1",
  ],
  [
    "key twice",
    withEntry(entry("k", id.u8, Buffer.of(1)), entry("k", id.u8, Buffer.of(1))),
    "gguf_duplicate",
    '"k"',
  ],
  ["value type 13", withEntry(entry("k", 13, u64(0))), "gguf_metadata_type", '"k"'],
  ["value type 2^32-1", withEntry(entry("k", 2 ** 32 - 1)), "gguf_metadata_type", '"k"'],
  ["bool 2", withEntry(entry("k", id.bool, Buffer.of(2))), "gguf_metadata_value", '"k"'],
  ["bool 7 in an array", withEntry(array("k", id.bool, 3, Buffer.of(0, 1, 7))), "gguf_metadata_value", '"k"'],
  ["string past the end", withEntry(entry("k", id.string, u64(1000), Buffer.alloc(8))), "gguf_string", '"k"'],
  ["string of 2^64-1", withEntry(entry("k", id.string, u64(-1))), "gguf_string", '"k"'],
  ["array of 2^64-1 strings", withEntry(array("k", id.string, -1)), "gguf_count", '"k"'],
  ["array of 2^61 u64", withEntry(array("k", id.u64, 2n ** 61n)), "gguf_count", '"k"'],
  ["array of 200 f32 too many", withEntry(array("k", id.f32, 200)), "gguf_count", '"k"'],
  [
    "string in an array past the end",
    withEntry(array("k", id.string, 2, string("x"), u64(2n ** 40n), Buffer.alloc(16))),
    "gguf_string",
    '"k"[1]',
  ],
  ["string of 2^64-1 in an array", withEntry(array("k", id.string, 1, u64(-1))), "gguf_string", '"k"[0]'],
  [
    "array in an array",
    withEntry(array("k", id.array, 1, u32(id.u8), u64(1), Buffer.of(1))),
    "gguf_metadata_type",
    '"k"',
  ],
  ["array of type 77", withEntry(array("k", 77, 1)), "gguf_metadata_type", '"k"'],
  ["array of 200 MiB", withEntry(array("k", id.u8, 200 * MiB)), "gguf_header_size", '"k"', 300 * MiB],
  [
    "20 million empty strings",
    raw({ entries: [array("k", id.string, 20_000_000)], tensors: [], tensorCount: 1 }),
    "gguf_header_size",
    '"k"',
    300 * MiB,
  ],
  [
    "string of 200 MiB",
    withEntry(entry("k", id.string, u64(200 * MiB))),
    "gguf_header_size",
    '"k"',
    300 * MiB,
  ],
  ["alignment 0", withEntry(alignment(0)), "gguf_alignment", "general.alignment"],
  ["alignment 1", withEntry(alignment(1)), "gguf_alignment", "general.alignment"],
  ["alignment 48", withEntry(alignment(48)), "gguf_alignment", "general.alignment"],
  ["alignment 2^31", withEntry(alignment(2 ** 31)), "gguf_alignment", "general.alignment"],
  [
    "alignment as a string",
    withEntry(entry("general.alignment", id.string, string("32"))),
    "gguf_alignment",
    "general.alignment",
  ],
  [
    "alignment as u64",
    withEntry(entry("general.alignment", id.u64, u64(32))),
    "gguf_alignment",
    "general.alignment",
  ],
  ["empty tensor name", one({ name: "" }, 64), "gguf_string", "name of tensor 0"],
  ["tensor name of 64 bytes", one({ name: "n".repeat(64) }), "gguf_string", "name of tensor 0"],
  ["tensor name with a zero", one({ name: "a\0b" }), "gguf_string", "name of tensor 0"],
  ["tensor twice", two({}, { name: "a" }), "gguf_duplicate", "name of tensor 1"],
  ["0 dimensions", one({ dims: [], count: 0 }, 64), "gguf_tensor_shape", '"a"'],
  ["5 dimensions", one({ dims: [8, 1, 1, 1, 1] }), "gguf_tensor_shape", '"a"'],
  ["2^32-1 dimensions", one({ count: 2 ** 32 - 1 }), "gguf_tensor_shape", '"a"'],
  ["dimension 0", one({ dims: [8, 0] }), "gguf_tensor_shape", "dimension 1"],
  ["dimension -1", one({ dims: [-1] }), "gguf_tensor_shape", "dimension 0"],
  ["product of 2^64, which wraps to 0", one({ dims: [2n ** 32n, 2n ** 32n] }), "gguf_tensor_shape", '"a"'],
  [
    "product of 2^248",
    one({ dims: [2n ** 62n, 2n ** 62n, 2n ** 62n, 2n ** 62n] }),
    "gguf_tensor_shape",
    '"a"',
  ],
  ["row of half a Q8_0 block", one({ dims: [16, 2], type: 8 }), "gguf_tensor_shape", '"a"'],
  ["row of half a Q4_K block", one({ dims: [128], type: 12 }), "gguf_tensor_shape", '"a"'],
  ["tensor type 999", one({ type: 999 }), "gguf_tensor_type", '"a"'],
  ["tensor type 2^32-1", one({ type: 2 ** 32 - 1 }), "gguf_tensor_type", '"a"'],
  ["removed type Q4_2", one({ type: 4 }), "gguf_tensor_type", "Q4_2"],
  ["removed type Q4_0_8_8", one({ type: 33 }), "gguf_tensor_type", "Q4_0_8_8"],
  ["offset 1", one({ offset: 1 }, 64), "gguf_alignment", 'offset of tensor "a"'],
  ["offset off a given alignment", aligned64(), "gguf_alignment", 'offset of tensor "b"'],
  ["offset past the end", one({ offset: 64 }), "gguf_extent", 'offset of tensor "a"'],
  ["offset 2^63", one({ offset: 2n ** 63n }), "gguf_extent", 'offset of tensor "a"'],
  ["offset + size past 2^64", one({ offset: 2n ** 64n - 32n }), "gguf_extent", 'offset of tensor "a"'],
  ["extent past the end", one({ dims: [16] }), "gguf_extent", 'extent of tensor "a"'],
  ["extent of 2^52 bytes", one({ dims: [2 ** 50] }), "gguf_extent", 'extent of tensor "a"'],
  ["same extent", two({}, { offset: 0 }), "gguf_extent", "extent of tensor"],
  ["extent over the next", two({ dims: [9] }, {}), "gguf_extent", 'extent of tensor "b"'],
  [
    "extent over the one before it in the list",
    two({ offset: 32 }, { offset: 0, dims: [12] }),
    "gguf_extent",
    'extent of tensor "a"',
  ],
];

/** Alignment 64, and a tensor at offset 32. */
function aligned64(): Buffer {
  const tensors = [tensor(), tensor({ name: "b", offset: 32 })];
  return raw({ entries: [architecture, alignment(64)], tensors, data: 64, align: 64 });
}

const path = join(folder, "model.gguf");

test("the builder's own file is good", async () => {
  await writeFile(path, good);
  const { tensors, shards } = await openGguf(path);
  assert.deepEqual([...tensors.keys()], ["a"]);
  assert.equal(tensors.get("a")!.offset + 32, shards[0]!.bytes);
});

for (const [name, bytes, code, field, size] of cases) {
  test(`refused: ${name}`, async () => {
    await writeFile(path, bytes);
    if (size !== undefined) await truncate(path, size);
    const start = performance.now();
    await assert.rejects(openGguf(path), (error) => {
      assert.ok(error instanceof StowageError, String(error));
      assert.equal(error.code, code, error.message);
      assert.ok(error.message.includes(field), error.message);
      assert.ok(error.message.includes(path), error.message);
      assert.ok(error.details.value !== undefined && error.details.limit !== undefined);
      return true;
    });
    assert.ok(performance.now() - start < 1000, `took ${performance.now() - start} ms`);
  });
}

test("every prefix of a file is refused", async () => {
  const whole = raw({
    entries: [architecture, array("k", id.string, 2, string("x"), string("yz")), alignment(32)],
    tensors: [tensor(), tensor({ name: "b", type: 8, dims: [32, 2], offset: 32 })],
    data: 32 + 68,
  });
  await readGguf("whole", async () => memorySource("whole", whole));
  const codes = new Set<string>();
  for (let length = 0; length < whole.length; length++) {
    await assert.rejects(
      readGguf("cut", async () => memorySource("cut", whole.subarray(0, length))),
      (error) => error instanceof StowageError && codes.add(error.code) !== undefined,
      `${length} of ${whole.length} bytes`,
    );
  }
  assert.deepEqual([...codes].sort(), ["gguf_count", "gguf_extent", "gguf_string", "gguf_truncated"]);
});

test("a long header that is cut where it is fetched in parts is refused", async () => {
  const tokens = Array.from({ length: 20_000 }, (_, i) => string(`token ${i}`));
  const whole = raw({ entries: [array("tokens", id.string, tokens.length, ...tokens)] });
  assert.ok(whole.length > 4 * 65_536);
  const { metadata } = await readGguf("whole", async () => memorySource("whole", whole));
  assert.equal(metadata.strings("tokens").at(-1), "token 19999");
  for (const length of [65_535, 65_536, 65_537, 131_072, 262_143, 262_144, 262_145]) {
    const cut = readGguf("cut", async () => memorySource("cut", whole.subarray(0, length)));
    await assert.rejects(cut, { name: "StowageError", message: /cut.*tokens/ }, `${length} bytes`);
  }
});

test("a missing file, a folder and a device are unreadable", async () => {
  for (const bad of [join(folder, "absent.gguf"), folder, "/dev/null"]) {
    await assert.rejects(openGguf(bad), { code: "gguf_unreadable" });
  }
});

test("the malformed files took little memory", () => {
  const peak = process.resourceUsage().maxRSS / 1024;
  assert.ok(peak < 300, `the process took up to ${peak} MiB`);
});

const costly: [name: string, build: () => Buffer][] = [
  [
    "65,536 tensors",
    () =>
      raw({
        tensors: Array.from({ length: 65_536 }, (_, i) => tensor({ name: `n${i}`, dims: [8, 1, 1, 1] })),
      }),
  ],
  [
    "16,384 keys of 1,000 bytes",
    () => {
      const stem = "k".repeat(995);
      const entries = Array.from({ length: 16_384 }, (_, i) => entry(`${stem}${i}`, id.u8, Buffer.of(1)));
      return raw({ entries });
    },
  ],
];

for (const [name, build] of costly) {
  test(`the costliest headers that are allowed take bounded time: ${name}`, async () => {
    const bytes = build();
    // Half a second here when idle. The best of three: the machine may be busy with something else, or slow for a while.
    const times: number[] = [];
    for (let i = 0; i < 3; i++) {
      const start = performance.now();
      await readGguf("costly", async () => memorySource("costly", bytes)).catch((error) => {
        assert.equal(error.code, "gguf_extent");
      });
      times.push(performance.now() - start);
    }
    assert.ok(Math.min(...times) < 2000, `took ${times} ms`);
  });
}
