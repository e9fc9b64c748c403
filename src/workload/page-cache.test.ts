import assert from "node:assert/strict";
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { StowageError } from "../errors.ts";
import { cachedBytes, dropPageCache } from "./page-cache.ts";
import { readAheadOf, withReadAhead } from "./read-ahead.ts";

const withoutRoot = (() => {
  try {
    accessSync("/proc/sys/vm/drop_caches", constants.W_OK);
    return false;
  } catch (error) {
    return (error as Error).message;
  }
})();

describe("the page cache", { skip: withoutRoot }, () => {
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-cache-"));
    path = join(folder, "file");
    writeFileSync(path, Buffer.alloc(2 ** 20, 1));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("is dropped, with pages that were not on the disk yet", async () => {
    assert.equal(cachedBytes(path), 2 ** 20);
    await dropPageCache([path]);
    assert.equal(cachedBytes(path), 0);
  });

  it("that a process keeps is refused", async () => {
    // The program that runs this test.
    await assert.rejects(dropPageCache([process.execPath]), (error) => {
      assert.ok(error instanceof StowageError && error.code === "page_cache", String(error));
      assert.match(error.message, /stay in it, for another process uses the file/);
      return true;
    });
  });

  it("is read ahead as the disk is set, also after work that failed", async () => {
    const set = readAheadOf(path);
    assert.ok(set === undefined || set >= 0);
    assert.equal(await withReadAhead(path, set, async () => readAheadOf(path)), set);
    const failing = withReadAhead(path, set, () => Promise.reject(new Error("as it should")));
    await assert.rejects(failing, /as it should/);
    assert.equal(readAheadOf(path), set);
  });
});
