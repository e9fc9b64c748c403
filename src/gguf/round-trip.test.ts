import assert from "node:assert/strict";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { rowBytes, type TensorType, tensorTypes } from "../ggml/types.ts";
import { requireArchitecture } from "./metadata.ts";
import { type GgufFile, type GgufTensor, openGguf } from "./read.ts";
import { type GgufNumberType, type GgufValue, gguf } from "./values.ts";
import { type TensorToWrite, writeGguf } from "./write.ts";

const folder = await mkdtemp(join(tmpdir(), "gguf-round-trip-"));
after(() => rm(folder, { recursive: true }));

const numbers: Record<GgufNumberType, fc.Arbitrary<number>> = {
  u8: fc.integer({ min: 0, max: 0xff }),
  i8: fc.integer({ min: -0x80, max: 0x7f }),
  u16: fc.integer({ min: 0, max: 0xffff }),
  i16: fc.integer({ min: -0x8000, max: 0x7fff }),
  u32: fc.integer({ min: 0, max: 0xffff_ffff }),
  i32: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  f32: fc.float(),
  f64: fc.double(),
};
const text = fc.string({ unit: "grapheme", maxLength: 40 });
const scalars: [string, fc.Arbitrary<number | bigint | boolean | string>][] = [
  ...Object.entries(numbers),
  ["u64", fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })],
  ["i64", fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  ["bool", fc.boolean()],
  ["string", text],
];
const values = scalars.flatMap(([type, value]) => [
  fc.record({ type: fc.constant(type), value }),
  fc.record({ type: fc.constant("array"), of: fc.constant(type), value: fc.array(value) }),
]) as fc.Arbitrary<GgufValue>[];
const identifier = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).filter((name) => {
  return !/\p{Cc}/u.test(name) && Buffer.byteLength(name) < 64 && name !== "general.alignment";
});
const metadata = fc.uniqueArray(fc.tuple(identifier, fc.oneof(...values)), { selector: ([key]) => key });
const tensor: fc.Arbitrary<TensorToWrite> = fc
  .record({
    name: identifier,
    type: fc.constantFrom(...(Object.keys(tensorTypes) as TensorType[])),
    dims: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
  })
  .map(({ name, type, dims: [row, ...rest] }) => ({
    name,
    type,
    shape: [row! * tensorTypes[type].block, ...rest],
  }));
const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name, minLength: 1, maxLength: 8 });
const alignments = fc.constantFrom(undefined, 8, 32, 64, 4096);

function bytesOf({ type, shape }: TensorToWrite): number {
  const [row, ...rest] = shape;
  return rest.reduce((product, dimension) => product * dimension, rowBytes(type, row!));
}

/** Bytes that differ from tensor to tensor. */
function dataOf(tensor: TensorToWrite): Uint8Array {
  const start = [...tensor.name].reduce((sum, letter) => sum + letter.codePointAt(0)!, 0);
  return Uint8Array.from({ length: bytesOf(tensor) }, (_, i) => (start + i * 7) % 251);
}

async function* inChunks(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readTensor(file: GgufFile, { shard, offset, bytes }: GgufTensor): Promise<Buffer> {
  const handle = await open(file.shards[shard]!.path);
  const { buffer } = await handle.read(Buffer.alloc(bytes), 0, bytes, offset);
  await handle.close();
  return buffer;
}

/** The values with their arrays decoded. */
const plain = (entries: Iterable<[string, GgufValue]>) =>
  [...entries].map(([key, value]) => [key, { ...value }]);

test("what is written is read again: every value type, tensor type and alignment", async () => {
  const path = join(folder, "any.gguf");
  const property = fc.asyncProperty(metadata, tensors, alignments, async (metadata, tensors, alignment) => {
    const data = (tensor: TensorToWrite) =>
      tensor.shape.length % 2 === 0 ? dataOf(tensor) : inChunks(dataOf(tensor), 100);
    await writeGguf(path, { metadata, tensors, data, ...(alignment !== undefined && { alignment }) });

    const file = await openGguf(path);
    const expected = [...metadata];
    if (alignment !== undefined && alignment !== 32) {
      expected.push(["general.alignment", gguf.u32(alignment)]);
    }
    assert.deepEqual(plain(file.metadata), plain(expected));
    assert.deepEqual(
      [...file.tensors.keys()],
      tensors.map(({ name }) => name),
    );
    for (const tensor of tensors) {
      const found = file.tensors.get(tensor.name)!;
      assert.equal(found.type, tensor.type);
      assert.deepEqual([...found.shape, 1, 1, 1].slice(0, 4), [...tensor.shape, 1, 1, 1].slice(0, 4));
      assert.ok(found.shape.length === 1 || found.shape.at(-1) !== 1);
      assert.equal(found.offset % (alignment ?? 32), 0);
      assert.deepEqual(new Uint8Array(await readTensor(file, found)), dataOf(tensor));
    }
  });
  await fc.assert(property, { numRuns: 150, seed: 7 });
});

test("the sample model is read, and written again byte for byte", { skip: withoutSample }, async () => {
  const file = await openGguf(samplePath);
  assert.equal(requireArchitecture(file.metadata), "qwen3moe");
  assert.equal(file.metadata.number("qwen3moe.block_count"), 6);
  assert.equal(file.metadata.strings("tokenizer.ggml.tokens").length, 8192);
  assert.equal(file.metadata.numbers("tokenizer.ggml.scores").length, 8192);
  assert.deepEqual(file.tensors.get("blk.5.ffn_gate_exps.weight")!.shape, [256, 256, 32]);

  const copy = join(folder, "copy.gguf");
  await writeGguf(copy, {
    metadata: file.metadata,
    tensors: file.tensors.values(),
    data: (tensor) => readTensor(file, tensor),
  });
  assert.ok((await readFile(copy)).equals(await readFile(samplePath)), "the copy differs");
});
