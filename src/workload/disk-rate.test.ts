import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { StowageError } from "../errors.ts";
import { measureDiskRate } from "./disk-rate.ts";

describe("the rate of a disk", () => {
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-disk-"));
    path = join(folder, "file");
    writeFileSync(path, Buffer.alloc(8 * 2 ** 20, 7));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("is measured at every depth, and the best is told", async () => {
    const options = { readBytes: 65_536, mostBytes: 4 * 2 ** 20, mostMs: 300 };
    const { rates, bytesPerSecond, readBytes, unbuffered } = await measureDiskRate(path, options);
    assert.deepEqual(
      rates.map(({ depth }) => depth),
      [1, 2, 4, 8, 16],
    );
    assert.ok(rates.every((rate) => rate.bytesPerSecond > 1e5 && rate.bytesPerSecond < 1e12));
    assert.equal(bytesPerSecond, Math.max(...rates.map((rate) => rate.bytesPerSecond)));
    assert.equal(readBytes, 65_536);
    assert.equal(typeof unbuffered, "boolean");
  });

  it("a file that is missing, or too short, is refused", async () => {
    const refused = (pattern: RegExp) => (error: unknown) => {
      assert.ok(error instanceof StowageError && error.code === "side_failed", String(error));
      assert.match(error.message, pattern);
      return true;
    };
    await assert.rejects(measureDiskRate(join(folder, "none"), { readBytes: 4096 }), refused(/ENOENT/));
    await assert.rejects(measureDiskRate(path, { readBytes: 2 ** 24 }), refused(/shorter than a read/));
  });
});
