import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type ExpertModel, openExpertModel, tinyExperts } from "../../test/expert-models.ts";
import { withFileSystem } from "../../test/file-systems.ts";
import { hasCode } from "../../test/has-code.ts";
import { StowageError } from "../errors.ts";
import { planExpertRecords } from "../model/expert-records.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { type PrepareOptions, prepare } from "./prepare.ts";
import { type PreparedFormat, preparedFormat, recordOffset } from "./prepared-file.ts";
import { PreparedStore } from "./prepared-store.ts";
import { ExpertSlots } from "./slots.ts";

const child = fileURLToPath(new URL("../../test/prepare-child.ts", import.meta.url));

describe("prepare", () => {
  let folder: string;
  let model: ExpertModel;
  let path: string;
  let target: string;
  let part: string;
  /** What an undisturbed run writes. */
  let whole: Buffer;
  let format: PreparedFormat;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-prepare-"));
    path = join(folder, "model.gguf");
    await writeSyntheticModel(path, tinyExperts);
    model = await openExpertModel(path);
    format = await preparedFormat(model.file, model.layout, model.backend);
    target = format.path;
    part = `${target}.part`;
    await run();
    whole = readFileSync(target);
    rmSync(target);
  });
  afterEach(() => {
    for (const left of [target, part]) rmSync(left, { force: true, recursive: true });
  });
  after(() => {
    model.backend.dispose();
    rmSync(folder, { recursive: true });
  });

  const run = (options: PrepareOptions = {}, of = model) => prepare(of.file, of.layout, of.backend, options);

  it("writes no records for a layer without experts, and the others as they are", async () => {
    const { file, weights, backend } = model;
    const [first, ...others] = weights.layers;
    const dense = new Map([...first!].filter(([name]) => !name.includes("_exps")));
    const layout = planExpertRecords({ ...weights, layers: [dense, ...others] })!;
    assert.deepEqual(layout.layerClass.indexOf(null), 0);
    const path = `${target}.dense`;
    const { records, bytes } = await run({ path }, { ...model, layout });
    assert.equal(records, 2 * layout.experts);
    const mine = await preparedFormat(file, layout, backend, path);
    const prepared = readFileSync(path);
    assert.equal(prepared.length, bytes);
    const last = (formatOf: PreparedFormat, all: Buffer) => all.subarray(recordOffset(formatOf, 1, 0));
    assert.ok(last(mine, prepared).equals(last(format, whole)));
    const store = await PreparedStore.open(mine);
    const slots = new ExpertSlots(backend, layout, [1]);
    try {
      await store.read(1, 3, slots.bytes(1, 0));
      await store.read(2, 0, slots.bytes(2, 0));
    } finally {
      slots.dispose();
      await store.close();
      rmSync(path);
    }
  });
  const total = () => model.records.length;
  /** Aborts after so many records. */
  const stopAfter = (records: number): PrepareOptions => {
    const abort = new AbortController();
    let done = 0;
    const progress = () => {
      done++;
      if (done === records) abort.abort(new Error("stopped"));
    };
    return { signal: abort.signal, progress };
  };
  const openFiles = () => readdirSync("/proc/self/fd").length;

  it("writes the file, tells its progress, and gives its files back", async () => {
    const before = openFiles();
    const told: [number, number][] = [];
    const prepared = await run({ progress: (...progress) => told.push(progress) });
    assert.deepEqual(prepared, { path: target, bytes: whole.length, records: 12, written: 12 });
    assert.ok(readFileSync(target).equals(whole));
    assert.equal(existsSync(part), false);
    assert.equal(told.length, total());
    assert.deepEqual(told.at(-1), [format.fileBytes - format.recordsOffset, told[0]![1]]);
    assert.equal(openFiles(), before);
  });

  it("leaves a good file as it is, unless it is forced", async () => {
    await run();
    const { ino } = statSync(target);
    assert.equal((await run()).written, 0);
    assert.equal(statSync(target).ino, ino);
    assert.equal((await run({ force: true })).written, total());
    assert.notEqual(statSync(target).ino, ino);
    assert.ok(readFileSync(target).equals(whole));
  });

  it("replaces a file that is damaged or of another model", async () => {
    writeFileSync(target, whole.subarray(0, 9000));
    assert.equal((await run()).written, total());
    assert.ok(readFileSync(target).equals(whole));
  });

  it("goes on after kill -9, and verifies what it goes on from", async () => {
    const { signal } = spawnSync(process.execPath, [child, path, "7"], { encoding: "utf8" });
    assert.equal(signal, "SIGKILL");
    assert.deepEqual([existsSync(target), existsSync(part)], [false, true]);
    const bytes = readFileSync(part);
    const sums = model.records.map((_, index) => bytes.readUInt32LE(format.tableOffset + 4 * index));
    const complete = sums.filter((sum) => sum !== 0).length;
    assert.ok(complete >= 7 && complete < total(), `${complete} records`);
    // One of them is damaged meanwhile: as if the machine had lost what was not on the disk yet.
    const [layer, expert] = model.records[sums.findIndex((sum) => sum !== 0)]!;
    bytes[recordOffset(format, layer, expert) + 77]! ^= 1;
    writeFileSync(part, bytes);
    const { written } = await run();
    assert.equal(written, total() - complete + 1);
    assert.ok(readFileSync(target).equals(whole));
    assert.equal(existsSync(part), false);
  });

  it("keeps what is done when it is aborted, and gives its files back", async () => {
    const before = openFiles();
    await assert.rejects(run(stopAfter(5)), /stopped/);
    assert.equal(openFiles(), before);
    assert.equal(existsSync(target), false);
    const { written } = await run();
    assert.ok(written > 0 && written <= total() - 5, `${written} written`);
    assert.ok(readFileSync(target).equals(whole));
    await assert.rejects(run({ signal: AbortSignal.abort(new Error("at once")) }), /at once/);
  });

  const useless: [string, () => void][] = [
    ["is cut", () => truncateSync(part, format.tableOffset)],
    ["is something else", () => writeFileSync(part, Buffer.alloc(format.fileBytes, 1))],
    ["is of an earlier state of the model", () => utimesSync(path, 1, 1)],
  ];
  for (const [name, change] of useless) {
    it(`starts again when the part ${name}`, async () => {
      await assert.rejects(run(stopAfter(5)), /stopped/);
      change();
      assert.equal((await run()).written, total());
      assert.ok(readFileSync(target).equals(whole));
    });
  }

  it("starts again when it is forced", async () => {
    await assert.rejects(run(stopAfter(5)), /stopped/);
    assert.equal((await run({ force: true })).written, total());
  });

  it("goes on from a part that has lost its end", async () => {
    await assert.rejects(run(stopAfter(5)), /stopped/);
    truncateSync(part, recordOffset(format, 2, 0));
    const { written } = await run();
    assert.ok(written >= 4 && written < total(), `${written} written`);
    assert.ok(readFileSync(target).equals(whole));
  });

  describe("without room", () => {
    const inTmpfs = (kibibytes: number, use: (at: string) => Promise<void>) =>
      withFileSystem("tmpfs", `size=${kibibytes}k`, (mount) => use(join(mount, "model.experts")));
    const kibibytes = () => Math.ceil(format.fileBytes / 1024);

    it("refuses beforehand, and leaves nothing", async (t) => {
      const skipped = await inTmpfs(kibibytes() - 100, async (at) => {
        await assert.rejects(run({ path: at }), (error) => {
          assert.ok(hasCode("prepare_space")(error) && error instanceof StowageError);
          assert.deepEqual([error.details.path, error.details.needed], [at, format.fileBytes]);
          assert.match(error.message, /\d+ more bytes are needed, and \d+ are free/);
          assert.match(error.next, /^Free \d+ bytes more .* Nothing of it is kept\.$/);
          return true;
        });
        assert.deepEqual(readdirSync(dirname(at)), []);
      });
      if (skipped) t.skip(skipped);
    });

    it("says what is kept when the room goes on the way, and goes on when there is some again", async (t) => {
      const skipped = await inTmpfs(kibibytes() + 100, async (at) => {
        const filler = join(dirname(at), "filler");
        let done = 0;
        const progress = () => {
          done++;
          if (done !== 4) return;
          assert.throws(() => writeFileSync(filler, Buffer.alloc(format.fileBytes)), /ENOSPC/);
        };
        await assert.rejects(run({ path: at, progress }), (error) => {
          assert.ok(hasCode("prepare_space")(error) && error instanceof StowageError);
          assert.ok(Number(error.details.needed) < format.fileBytes);
          assert.match(error.next, /kept in .*model\.experts\.part, and the next run goes on from there/);
          return true;
        });
        await assert.rejects(run({ path: at }), hasCode("prepare_space"));
        assert.deepEqual(readdirSync(dirname(at)).sort(), ["filler", "model.experts.part"]);
        rmSync(filler);
        const { written } = await run({ path: at });
        assert.ok(written < total(), `${written} written`);
        assert.ok(readFileSync(at).equals(whole));
      });
      if (skipped) t.skip(skipped);
    });
  });

  it("may run twice at once", async () => {
    await Promise.all([run(), run()]);
    assert.ok(readFileSync(target).equals(whole));
    assert.equal(existsSync(part), false);
  });

  it("says so when the folder cannot be written to, or a folder has the name", async () => {
    const nowhere = join(folder, "nowhere", "x.experts");
    await assert.rejects(run({ path: nowhere }), hasCode("prepare_failed"));
    writeFileSync(target, "");
    await assert.rejects(run({ path: join(target, "x.experts") }), (error) => {
      return hasCode("prepare_failed")(error) || hasCode("prepared_file_unreadable")(error);
    });
    const before = openFiles();
    spawnSync("mkdir", [part]);
    await assert.rejects(run(), hasCode("prepare_failed"));
    assert.equal(openFiles(), before);
  });

  describe("a model that changes meanwhile leaves nothing that passes for prepared", () => {
    const changes: [string, (copy: string) => void, StowageError["code"][]][] = [
      ["is written to", (copy) => flipLast(copy), ["expert_file_changed"]],
      ["is exchanged", (copy) => exchange(copy), ["expert_file_changed"]],
      ["is cut", (copy) => truncateSync(copy, 8192), ["expert_file_truncated", "expert_file_changed"]],
    ];
    const flipLast = (copy: string) => {
      const bytes = readFileSync(copy);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(copy, bytes);
    };
    const exchange = (copy: string) => {
      const bytes = readFileSync(copy);
      for (const tensor of model.layout.sources.flat(2)) bytes[tensor.offset]! ^= 1;
      writeFileSync(`${copy}.new`, bytes);
      renameSync(`${copy}.new`, copy);
    };
    for (const [name, change, codes] of changes) {
      it(`as it ${name}`, async () => {
        const copy = join(folder, "copy.gguf");
        copyFileSync(path, copy);
        const other = await openExpertModel(copy);
        let done = 0;
        const progress = () => {
          done++;
          if (done === 2) change(copy);
        };
        await assert.rejects(run({ progress }, other), (error) => codes.some((code) => hasCode(code)(error)));
        assert.equal(existsSync(`${copy}.experts`), false);
        // A model of the same name that comes later takes nothing over.
        rmSync(copy);
        copyFileSync(path, copy);
        const { written } = await run({}, other);
        assert.equal(written, total());
        assert.ok(readFileSync(`${copy}.experts`).equals(whole));
        other.backend.dispose();
        for (const left of [copy, `${copy}.experts`]) rmSync(left);
      });
    }
  });
});
