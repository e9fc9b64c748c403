import assert from "node:assert/strict";
import { mkdtemp, open, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { openGguf } from "./read.ts";
import { type GgufValue, gguf } from "./values.ts";
import { writeGguf } from "./write.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gguf-splits-"));
});
afterEach(() => rm(folder, { recursive: true }));

const pathOf = (number: number, count = 3) =>
  join(folder, `model-${String(number).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.gguf`);

interface Shard {
  path?: string;
  no?: number;
  count?: number;
  total?: number;
  names: string[];
  more?: [string, GgufValue][];
}

/** Writes shard `no`: tensors of 8 bytes that hold the first letter of their name. */
function writeShard({ no = 0, count = 3, total = 4, path = pathOf(no + 1), names, more = [] }: Shard) {
  return writeGguf(path, {
    metadata: [
      ["split.no", { type: "u16", value: no }],
      ["split.count", { type: "u16", value: count }],
      ["split.tensors.count", { type: "i32", value: total }],
      ...more,
    ],
    tensors: names.map((name) => ({ name, type: "I8", shape: [8] })),
    data: ({ name }) => new Uint8Array(8).fill(name.charCodeAt(0)),
  });
}

async function writeThree() {
  await writeShard({ no: 0, names: ["a", "b"], more: [["general.architecture", gguf.string("llama")]] });
  await writeShard({ no: 1, names: ["c"] });
  await writeShard({ no: 2, names: ["d"] });
}

test("three shards are one model", async () => {
  await writeThree();
  const file = await openGguf(pathOf(1));
  assert.deepEqual([...file.tensors.keys()], ["a", "b", "c", "d"]);
  assert.deepEqual(
    [...file.tensors.values()].map(({ shard }) => shard),
    [0, 0, 1, 2],
  );
  assert.equal(file.metadata.string("general.architecture"), "llama");
  assert.deepEqual(
    file.shards.map(({ path }) => path),
    [pathOf(1), pathOf(2), pathOf(3)],
  );
  for (const { name, shard, offset, bytes } of file.tensors.values()) {
    const handle = await open(file.shards[shard]!.path);
    const { buffer } = await handle.read(Buffer.alloc(bytes), 0, bytes, offset);
    await handle.close();
    assert.equal(buffer.toString("latin1"), name.repeat(8));
  }
});

test("the first shard may hold metadata alone", async () => {
  await writeThree();
  await writeShard({ no: 0, total: 2, names: [] });
  assert.deepEqual([...(await openGguf(pathOf(1))).tensors.keys()], ["c", "d"]);
});

test("a split of one is a whole model, whatever its name", async () => {
  const path = join(folder, "whole.gguf");
  await writeShard({ path, count: 1, total: 1, names: ["a"] });
  assert.equal((await openGguf(path)).shards.length, 1);
});

const faults: [name: string, spoil: () => Promise<unknown>, message: RegExp, open?: () => string][] = [
  ["a shard is missing", () => rm(pathOf(3)), /shard .*model-00003-of-00003\.gguf is not readable/],
  ["another shard is given", async () => {}, /"split\.no" is 1; give the first shard/, () => pathOf(2)],
  [
    "the name is not that of a shard",
    () => rename(pathOf(1), join(folder, "model.gguf")),
    /must end in -00001-of-00003\.gguf/,
    () => join(folder, "model.gguf"),
  ],
  [
    "the name has another count",
    () => rename(pathOf(1), pathOf(1, 4)),
    /must end in -00001-of-00003\.gguf/,
    () => pathOf(1, 4),
  ],
  [
    "shards are swapped",
    () => rename(pathOf(3), pathOf(2)),
    /"split\.no" is 2; this file's place is number 1/,
  ],
  [
    "counts differ",
    () => writeShard({ no: 1, count: 2, path: pathOf(2), names: ["c"] }),
    /"split\.count" is 2/,
  ],
  ["a tensor is in two shards", () => writeShard({ no: 2, names: ["a"] }), /tensor name is "a"; shard 0 has/],
  [
    "tensors are missing",
    () => writeShard({ no: 2, names: [] }),
    /"split\.tensors\.count" is 4; .* 3 tensors/,
  ],
  ["there are too many tensors", () => writeShard({ no: 2, names: ["d", "e"] }), /is 5; at most 4 in all/],
  ["a later shard has no split", () => writeWhole(pathOf(2)), /"split\.count" is missing/],
  ["the count is absurd", () => writeShard({ count: 60_000, names: ["a"], path: pathOf(1) }), /must end in/],
  ["the total is negative", () => writeShard({ total: -1, names: ["a"] }), /"split\.tensors\.count" is -1/],
];

function writeWhole(path: string) {
  return writeGguf(path, {
    metadata: [],
    tensors: [{ name: "c", type: "I8", shape: [1] }],
    data: () => new Uint8Array(1),
  });
}

for (const [name, spoil, message, given = () => pathOf(1)] of faults) {
  test(`refused: ${name}`, async () => {
    await writeThree();
    await spoil();
    await assert.rejects(openGguf(given()), { code: "gguf_split", message });
  });
}

test("a damaged later shard is named", async () => {
  await writeThree();
  const handle = await open(pathOf(2), "r+");
  await handle.truncate(100);
  await handle.close();
  await assert.rejects(openGguf(pathOf(1)), { name: "StowageError", message: /model-00002-of-00003\.gguf/ });
});
