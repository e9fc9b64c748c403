import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { LearntFile } from "./learnt-file.ts";

describe("what was learnt, in its file", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "stowage-learnt-"));
  });
  after(() => rm(folder, { recursive: true }));

  const facts = { model: "a", policy: "fmoe" };
  const learnt = Uint8Array.from({ length: 300 }, (_, index) => index);
  const written = async (name: string) => {
    const file = new LearntFile(join(folder, name), facts);
    assert.equal(await file.write(learnt), true);
    return file;
  };

  test("comes back as it was, whole files in each other's place, and nothing else is left", async () => {
    const file = await written("twice");
    assert.equal(await file.write(learnt.subarray(7)), true);
    assert.deepEqual(new Uint8Array((await file.read())!), learnt.subarray(7));
    assert.deepEqual(await readdir(folder), ["twice"]);
  });

  test("is none where there is none, or one of something else", async () => {
    const file = await written("other");
    assert.equal(await new LearntFile(join(folder, "missing"), facts).read(), undefined);
    for (const other of [{ ...facts, model: "b" }, { ...facts, policy: "f" }, {}])
      assert.equal(await new LearntFile(file.path, other).read(), undefined);
  });

  test("is none when any of its bytes is another, or it ends anywhere", async () => {
    const file = await written("damaged");
    const whole = await readFile(file.path);
    for (let at = 0; at < whole.length; at++) {
      const damaged = Uint8Array.from(whole);
      damaged[at]! ^= 1 << (at % 8);
      await writeFile(file.path, damaged);
      assert.equal(await file.read(), undefined, `byte ${at}`);
    }
    await writeFile(file.path, whole);
    for (let length = whole.length - 1; length >= 0; length -= 5) {
      await truncate(file.path, length);
      assert.equal(await file.read(), undefined, `${length} bytes`);
    }
  });

  test("is none where a folder has its name, and cannot be written into a folder that is not there", async () => {
    await mkdir(join(folder, "is-a-folder"));
    const file = new LearntFile(join(folder, "is-a-folder"), facts);
    assert.equal(await file.read(), undefined);
    assert.equal(await file.write(learnt), false);
    assert.equal(await new LearntFile(join(folder, "no", "such"), facts).write(learnt), false);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.endsWith(".part")),
      [],
    );
  });

  test("cannot be written where nothing may be", { skip: process.getuid?.() === 0 }, async () => {
    await mkdir(join(folder, "closed"));
    await chmod(join(folder, "closed"), 0o500);
    assert.equal(await new LearntFile(join(folder, "closed", "file"), facts).write(learnt), false);
  });
});
