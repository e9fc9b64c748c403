import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ExpertModel, openExpertModel, tinyExperts } from "../../test/expert-models.ts";
import { withFileSystem } from "../../test/file-systems.ts";
import { hasCode } from "../../test/has-code.ts";
import type { StowageError } from "../errors.ts";
import { AlignedMemory } from "../ggml/aligned.ts";
import { openGguf } from "../gguf/read.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { DirectFile } from "./direct-file.ts";
import { GgufStore } from "./gguf-store.ts";
import { classOf } from "./layout.ts";
import { openExpertStore } from "./open.ts";
import { prepare } from "./prepare.ts";
import { type PreparedFormat, preparedFormat, recordOffset } from "./prepared-file.ts";
import type { ExpertStore } from "./store.ts";

/** Whether the file system of the temporary files has unbuffered reads. */
async function readsUnbuffered(path: string): Promise<boolean> {
  const file = await DirectFile.open(path);
  await file.close();
  return file.unbuffered;
}

const openFiles = () => readdirSync("/proc/self/fd").length;

describe("expert stores", () => {
  const memories: AlignedMemory[] = [];
  let folder: string;
  let path: string;
  let model: ExpertModel;
  let format: PreparedFormat;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-stores-"));
    path = join(folder, "model.gguf");
    await writeSyntheticModel(path, tinyExperts);
    model = await openExpertModel(path);
    const { file, layout, backend } = model;
    await prepare(file, layout, backend);
    format = await preparedFormat(file, layout, backend);
  });
  after(() => {
    rmSync(folder, { recursive: true });
    for (const memory of memories) memory.dispose();
    model.backend.dispose();
  });

  const target = (layer: number) => {
    const memory = new AlignedMemory(classOf(model.layout, layer).recordBytes);
    memories.push(memory);
    return memory.bytes;
  };
  const read = async (store: ExpertStore, layer: number, expert: number) => {
    const record = target(layer);
    await store.read(layer, expert, record);
    return Buffer.from(record);
  };
  /** The record as the prepared file holds it. */
  const recordOf = (layer: number, expert: number) => {
    const offset = recordOffset(format, layer, expert);
    const { recordBytes } = classOf(model.layout, layer);
    return readFileSync(format.path).subarray(offset, offset + recordBytes);
  };
  const prepared = async (file = model.file, at?: string) => {
    const { layout, backend } = model;
    const options = { prepared: "required", ...(at && { path: at }) } as const;
    return (await openExpertStore(file, layout, backend, options)).store;
  };
  const plain = async (file = model.file) => GgufStore.open(file, model.layout, model.backend);

  for (const [kind, open] of Object.entries({ prepared, gguf: plain })) {
    describe(kind, () => {
      it("reads many at once, counts, and gives its files back", async () => {
        const before = openFiles();
        const store = await open();
        assert.equal(store.kind, kind);
        assert.equal(store.unbuffered, await readsUnbuffered(path));
        const twice = [...model.records, ...model.records].reverse();
        const found = await Promise.all(twice.map(([layer, expert]) => read(store, layer, expert)));
        twice.forEach(([layer, expert], index) => {
          assert.ok(recordOf(layer, expert).equals(found[index]!), `expert ${expert} of layer ${layer}`);
        });
        const { reads, bytes, ms } = store.counters;
        assert.equal(reads, twice.length);
        const least = twice.reduce((sum, [layer, expert]) => sum + recordOf(layer, expert).length, 0);
        assert.ok(bytes >= least * 0.9 && bytes < least * 2, `${bytes} bytes for ${least}`);
        assert.ok(ms > 0);
        await store.close();
        assert.equal(openFiles(), before);
      });

      it("closes after what runs, and refuses what comes later", async () => {
        const store = await open();
        const running = model.records.map(([layer, expert]) => read(store, layer, expert));
        await store.close();
        for (const record of await Promise.all(running)) assert.ok(record.length > 0);
        await assert.rejects(read(store, 0, 0), hasCode("native_disposed"));
      });
    });
  }

  describe("a file that changes while it is in use", () => {
    it("prepared: a flipped bit is an error that names the record, and others are read on", async () => {
      const copy = join(folder, "damaged.experts");
      copyFileSync(format.path, copy);
      const store = await prepared(model.file, copy);
      const bytes = readFileSync(copy);
      bytes[recordOffset(format, 1, 2) + 1000]! ^= 4;
      writeFileSync(copy, bytes);
      await assert.rejects(read(store, 1, 2), (error) => {
        assert.ok(hasCode("expert_record_damaged")(error));
        assert.match(String(error), /expert 2 of layer 1 in .*damaged\.experts is damaged/);
        return true;
      });
      assert.ok(recordOf(1, 1).equals(await read(store, 1, 1)));
      assert.equal(store.counters.reads, 1);
      await store.close();
    });

    it("prepared: a cut file is an error for what it has lost", async () => {
      const copy = join(folder, "cut.experts");
      copyFileSync(format.path, copy);
      const store = await prepared(model.file, copy);
      truncateSync(copy, recordOffset(format, 2, 3) + 5000);
      await assert.rejects(read(store, 2, 3), hasCode("expert_file_truncated"));
      assert.ok(recordOf(2, 2).equals(await read(store, 2, 2)));
      await store.close();
    });

    it("prepared: after another took its name, the file that was opened serves on", async () => {
      const copy = join(folder, "renamed.experts");
      copyFileSync(format.path, copy);
      const store = await prepared(model.file, copy);
      writeFileSync(join(folder, "other"), Buffer.alloc(format.fileBytes));
      renameSync(join(folder, "other"), copy);
      assert.ok(recordOf(0, 3).equals(await read(store, 0, 3)));
      await store.close();
    });

    it("gguf: a file that is written to or cut is an error", async () => {
      const copy = join(folder, "changing.gguf");
      copyFileSync(path, copy);
      const store = await plain(await openGguf(copy));
      assert.ok(recordOf(0, 0).equals(await read(store, 0, 0)));
      const bytes = readFileSync(copy);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(copy, bytes);
      await assert.rejects(read(store, 0, 0), hasCode("expert_file_changed"));
      truncateSync(copy, 8192);
      await assert.rejects(read(store, 2, 3), hasCode("expert_file_truncated"));
      await store.close();
      const { layout, backend } = model;
      await assert.rejects(
        GgufStore.open(
          { ...model.file, shards: [{ ...model.file.shards[0]!, path: copy }] },
          layout,
          backend,
        ),
        hasCode("expert_file_changed"),
      );
    });
  });

  it("reads through the page cache where the file system has no other way, and says so", async (t) => {
    const run = async (mount: string) => {
      const [movedModel, movedRecords] = [join(mount, "model.gguf"), join(mount, "model.gguf.experts")];
      copyFileSync(path, movedModel);
      copyFileSync(format.path, movedRecords);
      const { layout, backend } = model;
      const file = await openGguf(movedModel);
      for (const kind of ["required", "ignored"] as const) {
        const told: StowageError[] = [];
        const options = { prepared: kind, onBuffered: (reason: StowageError) => told.push(reason) };
        const { store } = await openExpertStore(file, layout, backend, options);
        assert.ok(recordOf(1, 1).equals(await read(store, 1, 1)));
        assert.equal(store.unbuffered, false);
        assert.deepEqual(
          told.map(({ code }) => code),
          ["expert_reads_buffered"],
        );
        await store.close();
      }
    };
    const skipped = await withFileSystem("ramfs", "", run);
    if (skipped) t.skip(skipped);
  });

  describe("openExpertStore", () => {
    const open = (options = {}, file = model.file) =>
      openExpertStore(file, model.layout, model.backend, options);

    it("takes the prepared file, or the model's own where that is asked for", async () => {
      const usual = await open();
      const ignored = await open({ prepared: "ignored" });
      assert.deepEqual([usual.store.kind, usual.fallback], ["prepared", undefined]);
      assert.deepEqual([ignored.store.kind, ignored.fallback], ["gguf", undefined]);
      await usual.store.close();
      await ignored.store.close();
    });

    const reasons: [string, string, (at: string) => unknown][] = [
      ["there is none", "prepared_file_missing", () => {}],
      ["it is empty", "prepared_file_invalid", (at) => writeFileSync(at, "")],
      ["it is cut", "prepared_file_invalid", (at) => copyCut(at, format.fileBytes - 4096)],
      ["its table is cut", "prepared_file_invalid", (at) => copyCut(at, format.tableOffset + 4)],
      ["it is something else", "prepared_file_invalid", (at) => copyFileSync(path, at)],
      ["it is a folder", "prepared_file_unreadable", (at) => spawnSync("mkdir", [at])],
      ["it is a pipe", "prepared_file_unreadable", (at) => spawnSync("mkfifo", [at])],
    ];
    const copyCut = (at: string, bytes: number) => {
      copyFileSync(format.path, at);
      truncateSync(at, bytes);
    };
    for (const [index, [name, code, make]] of reasons.entries()) {
      it(`falls back to the model's own file and says why: ${name}`, async () => {
        const at = join(folder, `reason-${index}`);
        make(at);
        const before = openFiles();
        const { store, fallback } = await open({ path: at });
        assert.deepEqual([store.kind, fallback?.code], ["gguf", code]);
        await store.close();
        await assert.rejects(open({ path: at, prepared: "required" }), hasCode(code as StowageError["code"]));
        assert.equal(openFiles(), before);
        assert.ok(fallback!.message.includes(at) && fallback!.next.includes("stowage prepare"));
      });
    }

    it("does not take the file of another model, not even of one that differs in weights alone", async () => {
      const other = join(folder, "other.gguf");
      copyFileSync(path, other);
      const bytes = readFileSync(other);
      for (const tensor of model.layout.sources.flat(2)) bytes[tensor.offset]! ^= 1;
      writeFileSync(other, bytes);
      assert.equal(statSync(other).size, statSync(path).size);
      const { store, fallback } = await open({ path: format.path }, await openGguf(other));
      await store.close();
      assert.equal(fallback?.code, "prepared_file_stale");
      assert.match(fallback.message, /made from another model file/);
    });
  });
});
