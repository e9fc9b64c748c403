import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { ErrorCode } from "../errors.ts";
import { openGguf } from "./read.ts";
import { type GgufValue, gguf } from "./values.ts";
import { type GgufToWrite, type TensorToWrite, writeGguf } from "./write.ts";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gguf-write-"));
  path = join(folder, "model.gguf");
});
afterEach(() => rm(folder, { recursive: true }));

const model: GgufToWrite<TensorToWrite> = {
  metadata: [["general.architecture", gguf.string("llama")]],
  tensors: [
    { name: "a", type: "F32", shape: [8] },
    { name: "b", type: "Q8_0", shape: [32, 2] },
  ],
  data: ({ name }) => new Uint8Array(name === "a" ? 32 : 68),
};

async function* chunks(...sizes: number[]) {
  for (const size of sizes) yield new Uint8Array(size);
}

const failures: [name: string, change: Partial<GgufToWrite<TensorToWrite>>, code: ErrorCode][] = [
  ["too little data", { data: () => new Uint8Array(31) }, "gguf_write_size"],
  ["too much data", { data: () => new Uint8Array(33) }, "gguf_write_size"],
  ["too little data in chunks", { data: () => chunks(16, 15) }, "gguf_write_size"],
  ["too much data in chunks", { data: () => chunks(16, 16, 1) }, "gguf_write_size"],
  ["a dimension of 1.5", { tensors: [{ name: "a", type: "F32", shape: [1.5] }] }, "gguf_tensor_shape"],
  ["no dimension", { tensors: [{ name: "a", type: "F32", shape: [] }] }, "gguf_tensor_shape"],
  ["five dimensions", { tensors: [{ name: "a", type: "F32", shape: [1, 1, 1, 1, 2] }] }, "gguf_tensor_shape"],
  ["half a block", { tensors: [{ name: "a", type: "Q8_0", shape: [16] }] }, "gguf_tensor_shape"],
  ["a long name", { tensors: [{ name: "n".repeat(64), type: "F32", shape: [8] }] }, "gguf_string"],
  ["a name twice", { tensors: [0, 1].map(() => ({ name: "a", type: "F32", shape: [8] })) }, "gguf_duplicate"],
  ["a key twice", { metadata: [0, 1].map(() => ["k", gguf.u32(1)]) }, "gguf_duplicate"],
  ["an empty key", { metadata: [["", gguf.u32(1)]] }, "gguf_string"],
  ["alignment 48", { alignment: 48 }, "gguf_alignment"],
  ["alignment 8.5", { alignment: 8.5 }, "gguf_write_value"],
  ["two alignments", { alignment: 64, metadata: [["general.alignment", gguf.u32(32)]] }, "gguf_alignment"],
];

for (const [name, change, code] of failures) {
  test(`refused, and nothing left behind: ${name}`, async () => {
    await writeFile(path, "what was there");
    await assert.rejects(writeGguf(path, { ...model, ...change }), { code });
    assert.deepEqual(await readdir(folder), ["model.gguf"]);
    assert.equal(await readFile(path, "utf8"), "what was there");
  });
}

const wrongValues: [name: string, value: GgufValue][] = [
  ["u8 256", { type: "u8", value: 256 }],
  ["i8 -129", { type: "i8", value: -129 }],
  ["u32 -1", gguf.u32(-1)],
  ["u32 1.5", gguf.u32(1.5)],
  ["i32 NaN", { type: "i32", value: Number.NaN }],
  ["f32 1e300", gguf.f32(1e300)],
  ["u64 2^64", { type: "u64", value: 2n ** 64n }],
  ["i64 -2^63-1", { type: "i64", value: -(2n ** 63n) - 1n }],
  ["half a surrogate pair", gguf.string("\ud800")],
  ["an i32 array with 2^31", gguf.i32s([1, 2 ** 31])],
];

for (const [name, value] of wrongValues) {
  test(`a value that its type cannot hold: ${name}`, async () => {
    const metadata: [string, GgufValue][] = [["some.key", value]];
    await assert.rejects(writeGguf(path, { ...model, metadata }), {
      code: "gguf_write_value",
      message: /some\.key/,
    });
    assert.deepEqual(await readdir(folder), []);
  });
}

test("errors of the data pass through, and the part is removed", async () => {
  const data = async function* () {
    yield new Uint8Array(16);
    throw new RangeError("no more");
  };
  await assert.rejects(writeGguf(path, { ...model, data }), { name: "RangeError", message: "no more" });
  assert.deepEqual(await readdir(folder), []);
});

test("a folder that is missing, or is in the way, is named", async () => {
  const missing = join(folder, "no", "model.gguf");
  await assert.rejects(writeGguf(missing, model), { code: "gguf_write_failed", message: /no\/model\.gguf/ });
  await mkdir(path);
  await assert.rejects(writeGguf(path, model), { code: "gguf_write_failed" });
  assert.deepEqual(await readdir(folder), ["model.gguf"]);
});

test("an alignment in the metadata holds", async () => {
  await writeGguf(path, { ...model, metadata: [["general.alignment", gguf.u32(4096)]] });
  const { tensors, shards } = await openGguf(path);
  assert.deepEqual(
    [...tensors.values()].map(({ offset }) => offset),
    [4096, 8192],
  );
  assert.equal(shards[0]!.bytes, 3 * 4096);
});

test("a tensor of 256 MiB in chunks is never in memory whole", async () => {
  const MiB = 1024 * 1024;
  const chunk = new Uint8Array(MiB).fill(1);
  const data = async function* () {
    for (let i = 0; i < 256; i++) yield chunk;
  };
  const before = process.memoryUsage().rss;
  await writeGguf(path, { ...model, tensors: [{ name: "big", type: "I8", shape: [MiB, 256] }], data });
  const grown = (process.memoryUsage().rss - before) / MiB;
  assert.ok(grown < 64, `grew by ${grown} MiB`);
  assert.equal((await openGguf(path)).tensors.get("big")!.bytes, 256 * MiB);
});
