import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test } from "node:test";
import { StowageError } from "../errors.ts";
import { type GgufFile, readGguf } from "./read.ts";
import { memorySource } from "./source.ts";
import { type GgufScalarType, type GgufValue, gguf, scalarTypes } from "./values.ts";
import { type GgufToWrite, type TensorToWrite, writeGguf } from "./write.ts";

const seed = 20_260;
const mutations = 100_000;
const secondsAllowed = 60;
const memoryAllowed = 256 * 1024 * 1024;

/** A model as file names with their bytes; the first is the one that is opened. */
type Model = ReadonlyMap<string, Buffer>;
type Random = (below: number) => number;

/** A small linear congruential generator: the same mutations at every run. */
function randomFrom(seed: number): Random {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) & (2n ** 64n - 1n);
    return Math.floor((Number(state >> 32n) / 2 ** 32) * below);
  };
}

const extremes: [GgufScalarType, number | bigint | boolean | string][] = [
  ["u8", 255],
  ["i8", -128],
  ["u16", 65_535],
  ["i16", -1],
  ["u32", 2 ** 32 - 1],
  ["i32", -1],
  ["f32", 0.5],
  ["f64", 1e300],
  ["bool", true],
  ["string", "text"],
  ["u64", 2n ** 64n - 1n],
  ["i64", -1n],
];
const everyType = extremes.flatMap(([type, value]) => [
  [`one.${type}`, { type, value } as GgufValue],
  [`array.${type}`, { type: "array", of: type, value: [value, value, value] } as GgufValue],
]) as [string, GgufValue][];

const zeros = ({ type, shape }: TensorToWrite) => {
  const [row, ...rest] = shape;
  const rowBytes = type === "Q8_0" ? (row! / 32) * 34 : type === "Q4_K" ? (row! / 256) * 144 : row! * 4;
  return new Uint8Array(rest.reduce((product, dimension) => product * dimension, rowBytes));
};
const tensors: TensorToWrite[] = [
  { name: "token_embd.weight", type: "Q8_0", shape: [64, 4] },
  { name: "blk.0.ffn_up_exps.weight", type: "Q4_K", shape: [256, 2, 3] },
  { name: "output_norm.weight", type: "F32", shape: [8] },
];

/** One file with every value type, one of version 2 with another alignment, one vocabulary, one of two shards. */
async function validModels(): Promise<Model[]> {
  const folder = await mkdtemp(join(tmpdir(), "gguf-mutations-"));
  const write = (name: string, model: Partial<GgufToWrite<TensorToWrite>>) =>
    writeGguf(join(folder, name), { metadata: everyType, tensors, data: zeros, ...model });
  const split = (no: number): [string, GgufValue][] => [
    ["split.no", { type: "u16", value: no }],
    ["split.count", { type: "u16", value: 2 }],
    ["split.tensors.count", { type: "i32", value: 3 }],
  ];
  const vocabulary = gguf.strings(Array.from({ length: 60 }, (_, i) => `token ${i}`));
  await write("a.gguf", {});
  await write("b.gguf", { metadata: [["general.architecture", gguf.string("llama")]], alignment: 64 });
  await write("c.gguf", { metadata: [["tokens", vocabulary]], tensors: tensors.slice(2) });
  await write("d-00001-of-00002.gguf", { metadata: split(0), tensors: tensors.slice(0, 2) });
  await write("d-00002-of-00002.gguf", { metadata: split(1), tensors: tensors.slice(2) });
  const files = new Map<string, Buffer>();
  for (const name of await readdir(folder)) files.set(name, await readFile(join(folder, name)));
  await rm(folder, { recursive: true });
  files.get("b.gguf")!.writeUInt32LE(2, 4);
  const model = (...names: string[]) => new Map(names.map((name) => [name, files.get(name)!]));
  return [
    model("a.gguf"),
    model("b.gguf"),
    model("c.gguf"),
    model("d-00001-of-00002.gguf", "d-00002-of-00002.gguf"),
  ];
}

const powers = [0n, 7n, 8n, 15n, 16n, 24n, 31n, 32n, 40n, 52n, 53n, 60n, 61n, 62n, 63n];
const interesting = powers.flatMap((power) => [2n ** power, 2n ** power - 1n, -(2n ** power)]);

const mutators: ((bytes: Buffer, random: Random) => Buffer)[] = [
  function flipBit(bytes, random) {
    const at = random(bytes.length);
    bytes[at]! ^= 1 << random(8);
    return bytes;
  },
  function setByte(bytes, random) {
    bytes[random(bytes.length)] = random(256);
    return bytes;
  },
  function truncate(bytes, random) {
    return bytes.subarray(0, random(bytes.length));
  },
  function write32(bytes, random) {
    if (bytes.length >= 4) {
      const value = Number(BigInt.asUintN(32, interesting[random(interesting.length)]!));
      bytes.writeUInt32LE(value, random(bytes.length - 3));
    }
    return bytes;
  },
  function write64(bytes, random) {
    if (bytes.length >= 8) {
      const value = BigInt.asUintN(64, interesting[random(interesting.length)]!);
      bytes.writeBigUInt64LE(value, random(bytes.length - 7));
    }
    return bytes;
  },
  function writeSmall32(bytes, random) {
    if (bytes.length >= 4) bytes.writeUInt32LE(random(48), random(bytes.length - 3));
    return bytes;
  },
  function splice(bytes, random) {
    const from = random(bytes.length);
    const piece = bytes.subarray(from, from + random(64));
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + random(64))]);
  },
];

/** A copy of `model` with one to three mutations of one of its files. */
function mutate(model: Model, random: Random): Model {
  const victim = [...model.keys()][random(model.size)]!;
  let bytes: Buffer = Buffer.from(model.get(victim)!);
  for (let left = 1 + random(3); left > 0 && bytes.length > 0; left--) {
    bytes = mutators[random(mutators.length)]!(bytes, random);
  }
  return new Map([...model, [victim, bytes]]);
}

function read(model: Model): Promise<GgufFile> {
  const [first] = model.keys();
  return readGguf(first!, async (path) => {
    const bytes = model.get(basename(path));
    if (bytes === undefined) throw new StowageError("gguf_unreadable", { path, reason: "no such file" });
    return memorySource(path, bytes);
  });
}

/** What parsed must be sound: decodes every value, and holds every extent against its file. */
function checkSound(file: GgufFile, model: Model): void {
  for (const [key, value] of file.metadata) {
    if (value.type === "array")
      assert.ok(
        value.value.every((element) => typeof element === typeof value.value[0]),
        key,
      );
    else assert.ok(value.type in scalarTypes);
  }
  assert.ok(file.tensors.size > 0);
  for (const [shard, { path, bytes, dataOffset }] of file.shards.entries()) {
    assert.equal(bytes, model.get(path)!.length);
    let end = dataOffset;
    const placed = [...file.tensors.values()].filter((tensor) => tensor.shard === shard);
    for (const tensor of placed.sort((a, b) => a.offset - b.offset)) {
      assert.ok(tensor.offset >= end && tensor.bytes > 0, tensor.name);
      assert.ok(tensor.shape.every((dimension) => Number.isSafeInteger(dimension) && dimension > 0));
      end = tensor.offset + tensor.bytes;
    }
    assert.ok(placed.length === 0 || end <= bytes, path);
  }
}

test(`${mutations} mutations parse, or fail with an error of the catalogue`, async (context) => {
  const models = await validModels();
  for (const model of models) checkSound(await read(model), model);

  const random = randomFrom(seed);
  const outcomes = new Map<string, number>();
  const rssBefore = process.memoryUsage().rss;
  const start = performance.now();
  let slowest = 0;
  for (let i = 0; i < mutations; i++) {
    const mutant = mutate(models[i % models.length]!, random);
    const began = performance.now();
    const outcome = await outcomeOf(mutant, i);
    slowest = Math.max(slowest, performance.now() - began);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  const seconds = (performance.now() - start) / 1000;
  const grown = process.memoryUsage().rss - rssBefore;

  context.diagnostic(JSON.stringify(Object.fromEntries([...outcomes].sort((a, b) => b[1] - a[1]))));
  context.diagnostic(
    `${seconds.toFixed(1)} s, slowest ${slowest.toFixed(1)} ms, rss grew by ${grown / 2 ** 20} MiB`,
  );
  assert.ok(seconds < secondsAllowed, `took ${seconds} s`);
  assert.ok(slowest < 1000, `one took ${slowest} ms`);
  assert.ok(grown < memoryAllowed, `rss grew by ${grown} bytes`);
  assert.ok(outcomes.get("parsed")! > mutations / 100, "mutants parse too");
  assert.ok(outcomes.size > 12, `reached only ${[...outcomes.keys()]}`);
});

async function outcomeOf(mutant: Model, i: number): Promise<string> {
  try {
    checkSound(await read(mutant), mutant);
    return "parsed";
  } catch (error) {
    if (error instanceof StowageError && error.code.startsWith("gguf_")) {
      assert.ok(!/undefined|\{\w+\}/.test(error.message), error.message);
      return error.code;
    }
    throw new Error(`mutation ${i} of seed ${seed}: ${error}`, { cause: error });
  }
}
