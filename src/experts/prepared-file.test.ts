import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { crc32 } from "node:zlib";
import { openExpertModel, tinyExperts } from "../../test/expert-models.ts";
import { StowageError } from "../errors.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { recordAlignment } from "./layout.ts";
import { prepare } from "./prepare.ts";
import {
  checkPrepared,
  decodeTable,
  type PreparedFormat,
  preparedFormat,
  recordOffset,
} from "./prepared-file.ts";

describe("the prepared file", () => {
  let folder: string;
  let format: PreparedFormat;
  let bytes: Buffer<ArrayBuffer>;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-prepared-"));
    const path = join(folder, "model.gguf");
    await writeSyntheticModel(path, tinyExperts);
    const { file, layout, backend } = await openExpertModel(path);
    await prepare(file, layout, backend);
    format = await preparedFormat(file, layout, backend);
    backend.dispose();
    bytes = readFileSync(format.path);
  });
  after(() => rmSync(folder, { recursive: true }));

  /** The error of a file that begins like this; undefined when it is taken. */
  const check = (start: Uint8Array, size = bytes.length): StowageError | undefined => {
    try {
      checkPrepared(format, start.subarray(0, format.recordsOffset), size);
      return undefined;
    } catch (error) {
      assert.ok(error instanceof StowageError, String(error));
      return error;
    }
  };
  /** The file with another description of itself, sums and all. */
  const describedAs = (change: (description: string) => string) => {
    const changed = Buffer.from(bytes.subarray(0, format.recordsOffset));
    const description = Buffer.from(change(format.description.toString()));
    description.copy(changed, 32);
    changed.writeUInt32LE(description.length, 12);
    changed.writeUInt32LE(crc32(description, crc32(changed.subarray(0, 24))), 24);
    return changed;
  };

  it("is as large as it says, with every record at a multiple of 4096", () => {
    assert.equal(bytes.length, format.fileBytes);
    assert.equal(check(bytes), undefined);
    const { layers, experts } = format.layout;
    const table = decodeTable(bytes, format);
    for (let index = 0; index < layers * experts; index++) {
      const [layer, expert] = [Math.floor(index / experts), index % experts];
      const offset = recordOffset(format, layer, expert);
      const end = index + 1 < layers * experts ? nextOffset(layer, expert) : bytes.length;
      assert.equal(offset % recordAlignment, 0);
      assert.equal(crc32(bytes.subarray(offset, end)), table[index]);
    }
  });

  const nextOffset = (layer: number, expert: number) =>
    expert + 1 < format.layout.experts
      ? recordOffset(format, layer, expert + 1)
      : recordOffset(format, layer + 1, 0);

  it("is refused with any one byte of its header or its table changed, or cut anywhere", () => {
    const codes = new Set<string>();
    const used = [
      ...Array(28).keys(),
      ...Array.from(format.description.keys(), (at) => 32 + at),
      ...Array.from({ length: 4 * 12 }, (_, at) => format.tableOffset + at),
    ];
    for (const at of used) {
      const changed = Buffer.from(bytes.subarray(0, format.recordsOffset));
      changed[at]! ^= 1 << (at % 8);
      const error = check(changed);
      assert.ok(error, `byte ${at}`);
      codes.add(error.code);
    }
    for (let length = 0; length < format.recordsOffset; length += 7)
      codes.add(check(bytes.subarray(0, length), length)?.code ?? "taken");
    assert.deepEqual([...codes].sort(), ["prepared_file_invalid", "prepared_file_stale"]);
  });

  it("is refused when it is shorter or longer than it has to be, or not complete", () => {
    assert.match(check(bytes, bytes.length - 1)!.message, /size is \d+ bytes; it has to be \d+/);
    assert.match(check(bytes, bytes.length + 4096)!.message, /size is \d+ bytes; it has to be \d+/);
    const changed = Buffer.from(bytes.subarray(0, format.recordsOffset));
    changed.writeUInt32LE(0, 16);
    changed.writeUInt32LE(crc32(format.description, crc32(changed.subarray(0, 24))), 24);
    assert.match(check(changed)!.message, /mark of completeness is 0/);
  });

  const descriptions: [string, (description: string) => string, RegExp][] = [
    ["ggml has another layout", (text) => text.replace(/("kernels":")./, "$1-"), /another way here/],
    ["the model is another", (text) => text.replace(/("header":")./, "$1-"), /another model file/],
    ["there are more experts", (text) => text.replace('"experts":4', '"experts":5'), /experts are laid out/],
    ["the description is longer", (text) => text.replace("{", '{"more":"facts",'), /experts are laid out/],
    ["the description is no JSON", () => "{", /another model file/],
    ["the description is null", () => "null", /another model file/],
    ["the description is empty", () => "", /another model file/],
  ];
  for (const [name, change, reason] of descriptions) {
    it(`is stale when ${name}`, () => {
      const error = check(describedAs(change));
      assert.equal(error?.code, "prepared_file_stale");
      assert.match(error.message, reason);
    });
  }

  it("is stale in another version", () => {
    const changed = Buffer.from(bytes.subarray(0, format.recordsOffset));
    changed.writeUInt32LE(2, 8);
    assert.match(check(changed)!.message, /version 2, and this release reads 1/);
  });

  it("does not believe lengths that its bytes do not have", () => {
    const changed = Buffer.from(bytes.subarray(0, format.recordsOffset));
    changed.writeUInt32LE(0xffffffff, 12);
    assert.match(check(changed)!.message, /length of the description is 4294967295; the file has/);
    assert.equal(check(changed, 2 ** 40)?.code, "prepared_file_stale");
  });
});
