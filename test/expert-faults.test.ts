/** What becomes of a running model when the file of its experts does not do what it should. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type LoadedModel, type LoadOptions, loadEngine } from "../src/engine/load.ts";
import { StowageError } from "../src/errors.ts";
import { preparedPath } from "../src/experts/prepared-file.ts";
import { collect } from "./collect.ts";
import { samplePath, withoutSample } from "./sample-model.ts";

const options: LoadOptions = { contextTokens: 256, maxSequences: 4, expertMemory: "20%" };
const prompt = Array.from({ length: 24 }, (_, index) => 300 + 17 * index);
const otherPrompt = prompt.map((token) => token + 1000);

function generate({ engine }: LoadedModel, tokens = prompt) {
  return collect(
    engine.submit({ prompt: tokens, maxTokens: 12, ignoreEnd: true, sampling: { temperature: 0 } }),
  );
}

async function failure(model: LoadedModel): Promise<StowageError> {
  const error = await generate(model, otherPrompt).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof StowageError, `a typed error, not ${String(error)}`);
  return error;
}

describe("experts from a file that fails", { skip: withoutSample }, () => {
  let folder: string;
  let path: string;
  let expected: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-faults-"));
    path = join(folder, "model.gguf");
    symlinkSync(samplePath, path);
    const model = await loadEngine(path, options);
    await model.engine.settled;
    expected = (await generate(model)).text;
    await model.dispose();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function withModel(use: (model: LoadedModel) => Promise<void>): Promise<void> {
    const model = await loadEngine(path, options);
    try {
      await model.engine.settled;
      await use(model);
    } finally {
      await model.dispose();
    }
  }

  test("cut short while it is in use: an error that names it; when it is whole again, the model goes on", async () => {
    const file = preparedPath(path);
    const copy = `${file}.copy`;
    copyFileSync(file, copy);
    const { size } = statSync(file);
    await withModel(async (model) => {
      truncateSync(file, Math.floor(size / 20));
      const error = await failure(model);
      assert.equal(error.code, "expert_file_truncated");
      assert.match(error.message, /model\.gguf\.experts/);
      // The same inode is filled again.
      const [from, to] = [openSync(copy, "r"), openSync(file, "r+")];
      const bytes = new Uint8Array(size);
      readSync(from, bytes, 0, size, 0);
      writeSync(to, bytes, 0, size, 0);
      closeSync(from);
      closeSync(to);
      assert.equal((await generate(model)).text, expected);
    });
    rmSync(copy);
  });

  test("damaged in place: an error that names layer and expert, never another text", async () => {
    const file = preparedPath(path);
    const copy = `${file}.copy`;
    copyFileSync(file, copy);
    await withModel(async (model) => {
      // A bit in every record.
      const { size } = statSync(file);
      const handle = openSync(file, "r+");
      const byte = new Uint8Array(1);
      for (let at = size - 2048; at > size / 50; at -= 4096) {
        readSync(handle, byte, 0, 1, at);
        byte[0]! ^= 1;
        writeSync(handle, byte, 0, 1, at);
      }
      closeSync(handle);
      const error = await failure(model);
      assert.equal(error.code, "expert_record_damaged");
      assert.match(error.message, /expert \d+/);
      assert.match(error.message, /layer \d+/);
    });
    renameSync(copy, file);
  });

  test("replaced by another while it is in use: the opened one goes on serving", async () => {
    const file = preparedPath(path);
    await withModel(async (model) => {
      const copy = `${file}.copy`;
      copyFileSync(file, copy);
      truncateSync(copy, 1000);
      renameSync(file, `${file}.old`);
      renameSync(copy, file);
      assert.equal((await generate(model)).text, expected);
      renameSync(`${file}.old`, file);
    });
  });

  test("what fails holds nothing afterwards: no place in the batch, no KV cell", async () => {
    const file = preparedPath(path);
    const copy = `${file}.copy`;
    copyFileSync(file, copy);
    await withModel(async (model) => {
      const { size } = statSync(file);
      truncateSync(file, Math.floor(size / 20));
      await failure(model);
      rmSync(file);
      copyFileSync(copy, file);
      const { load } = model.engine;
      assert.deepEqual([load.running, load.waiting], [0, 0], "nothing is held by what failed");
      assert.equal(load.freeCells, model.plan.kvCells);
    });
    renameSync(copy, file);
    await withModel(async (model) => assert.equal((await generate(model)).text, expected));
  });

  test("stale or broken before it is opened: made anew, or left alone with a hint", async () => {
    const file = preparedPath(path);
    truncateSync(file, 5000);
    const hints: string[] = [];
    const model = await loadEngine(path, {
      ...options,
      prepare: "never",
      onHint: (hint) => hints.push(hint.code),
    });
    await model.engine.settled;
    assert.equal((await generate(model)).text, expected, "from the model's own file");
    await model.dispose();
    assert.match(hints.join(), /^prepared_file_/);
    await withModel(async (again) => assert.equal((await generate(again)).text, expected));
    assert.ok(statSync(file).size > 5000, "it was prepared again");
  });

  test("a file system that cannot read past the page cache is used through it, with a hint", async (t) => {
    const mounted = join(folder, "ramfs");
    mkdirSync(mounted);
    if (spawnSync("mount", ["-t", "ramfs", "ramfs", mounted]).status !== 0) {
      t.skip("no ramfs can be mounted here");
      return;
    }
    t.after(() => spawnSync("umount", [mounted]));
    cpSync(samplePath, join(mounted, "model.gguf"));
    const hints: string[] = [];
    const model = await loadEngine(join(mounted, "model.gguf"), {
      ...options,
      onHint: (hint) => hints.push(hint.code),
    });
    await model.engine.settled;
    assert.equal((await generate(model)).text, expected);
    await model.dispose();
    assert.ok(hints.includes("expert_reads_buffered"), hints.join());
  });

  test("files and memory are given back, 30 times over", {
    skip: existsSync("/proc/self/fd") ? false : "no /proc",
  }, async () => {
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const round = () => withModel(async (model) => void (await generate(model)));
    for (let warmup = 0; warmup < 3; warmup++) await round();
    const [before, resident] = [descriptors(), process.memoryUsage().rss];
    for (let count = 0; count < 30; count++) await round();
    assert.equal(descriptors(), before);
    const grown = process.memoryUsage().rss - resident;
    assert.ok(grown < 30e6, `${grown} bytes more`);
  });
});
