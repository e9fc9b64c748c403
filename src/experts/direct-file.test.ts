import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import type { StowageError } from "../errors.ts";
import { AlignedMemory } from "../ggml/aligned.ts";
import { DirectFile, type ReadHandle, readForExpert } from "./direct-file.ts";

describe("DirectFile", () => {
  const memory = new AlignedMemory(4 * 4096);
  const bytes = Buffer.alloc(3 * 4096 + 100, "abcdefghijk");
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-direct-"));
    path = join(folder, "file");
    writeFileSync(path, bytes);
  });
  after(() => {
    rmSync(folder, { recursive: true });
    memory.dispose();
  });

  it("reads to the end of the file, and counts", async () => {
    const counters = { reads: 0, bytes: 0, ms: 0 };
    const file = await DirectFile.open(path, { counters });
    assert.equal(await file.read(memory.bytes, 4096, 8193), bytes.length - 4096);
    assert.ok(bytes.subarray(4096).equals(memory.bytes.subarray(0, bytes.length - 4096)));
    assert.equal(await file.read(memory.bytes, 5 * 4096), 0);
    assert.equal(counters.bytes, bytes.length - 4096);
    assert.ok(counters.ms > 0);
    await file.close();
  });

  it("tells once that a file system has no unbuffered reads, and reads all the same", async () => {
    const told: StowageError[] = [];
    const file = await DirectFile.open("/proc/version", { onBuffered: (reason) => told.push(reason) });
    assert.equal(file.unbuffered, false);
    assert.ok((await file.read(memory.bytes, 0)) > 10);
    assert.match(Buffer.from(memory.bytes.subarray(0, 10)).toString(), /^Linux/);
    await file.close();
    assert.deepEqual(
      told.map(({ code, details }) => [code, details.path]),
      [["expert_reads_buffered", "/proc/version"]],
    );
  });

  it("goes over to buffered reads of the same file when the first read is refused", async (t) => {
    const told: StowageError[] = [];
    const file = await DirectFile.open(path, { onBuffered: (reason) => told.push(reason) });
    if (!file.unbuffered) return t.skip("the folder of temporary files has no unbuffered reads");
    rmSync(path);
    writeFileSync(path, "another file");
    // An odd address is what every file system refuses, or else takes like any other.
    const odd = () => memory.bytes.subarray(1, 4097);
    const [first, second] = [odd(), odd()];
    const found = await Promise.all([file.read(first, 4096), file.read(second, 4096)]);
    assert.deepEqual(found, [4096, 4096]);
    assert.ok(bytes.subarray(4096, 8192).equals(first));
    assert.equal(told.length, file.unbuffered ? 0 : 1);
    await file.close();
    writeFileSync(path, bytes);
  });

  /** A handle that reads at most so many bytes at once, and blocks only from their start. */
  async function slow(most: number): Promise<ReadHandle> {
    const handle = await open(path);
    return {
      fd: handle.fd,
      stat: handle.stat.bind(handle),
      close: handle.close.bind(handle),
      read: ((target: Uint8Array, offset: number, length: number, position: number) => {
        assert.equal(position % 4096, 0);
        return handle.read(target, offset, Math.min(length, most), position);
      }) as ReadHandle["read"],
    };
  }

  it("goes on after a short read from the start of the block", async () => {
    const file = new DirectFile(path, await slow(5000), true);
    assert.equal(await file.read(memory.bytes, 0), bytes.length);
    assert.ok(bytes.equals(memory.bytes.subarray(0, bytes.length)));
    await file.close();
  });

  it("ends when reads bring nothing new", async () => {
    const file = new DirectFile(path, await slow(1000), true);
    const error = readForExpert(file, { layer: 2, expert: 5 }, memory.bytes, 0, 4096);
    await assert.rejects(error, hasCode("expert_file_truncated"));
    await file.close();
  });

  it("names expert, layer and file when a read fails, and when the file is too short", async () => {
    const broken = await DirectFile.open("/proc/self/mem");
    await assert.rejects(readForExpert(broken, { layer: 2, expert: 5 }, memory.bytes, 0, 10), (error) => {
      assert.ok(hasCode("expert_read_failed")(error));
      assert.match(String(error), /Expert 5 of layer 2 .* \/proc\/self\/mem: EIO/);
      return true;
    });
    await broken.close();
    const file = await DirectFile.open(path);
    await assert.rejects(readForExpert(file, { layer: 2, expert: 5 }, memory.bytes, 8192, 8192), (error) => {
      assert.ok(hasCode("expert_file_truncated")(error));
      assert.match(String(error), /bytes 8192 to 16384 .* now has 12388 bytes/);
      return true;
    });
    await file.close();
  });

  it("waits for what runs when it is closed, and refuses what comes later", async () => {
    const file = await DirectFile.open(path);
    const running = file.read(memory.bytes, 0);
    await file.close();
    await file.close();
    assert.equal(await running, bytes.length);
    await assert.rejects(file.read(memory.bytes, 0), hasCode("native_disposed"));
  });

  it("tells whether the file was written to", async () => {
    const file = await DirectFile.open(path);
    assert.equal(await file.changed(), false);
    writeFileSync(path, bytes.subarray(1));
    assert.equal(await file.changed(), true);
    await file.close();
    writeFileSync(path, bytes);
  });
});
