import { constants } from "node:fs";
import { type FileHandle, open, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { StowageError } from "../errors.ts";
import { crc32 } from "../ggml/checksum.ts";
import { classOf } from "./layout.ts";
import {
  decodeTable,
  encodeHeader,
  encodeTable,
  type PreparedFormat,
  recordOffset,
} from "./prepared-file.ts";

/** Where a prepared file is written until it is complete. */
export function partPath(format: PreparedFormat): string {
  return `${format.path}.part`;
}

/**
 * A prepared file in the making. It has its final layout from the start, and its table is the journal: a record counts
 * once its sum is there, and only if the sum is right, because after a crash of the machine either may be on the disk
 * without the other.
 */
export class PartFile {
  readonly #format: PreparedFormat;
  readonly #handle: FileHandle;
  /** A sum for each record; 0 for those that are to be written. */
  readonly #table: Uint32Array;
  #renamed = false;

  /**
   * Opens the part of an earlier run where it is of the same file, else starts an empty one.
   * @param options.source a mark of the model's files as they are now: records of an earlier state are not taken over
   * @param options.fresh start an empty one anyhow
   * @throws StowageError prepare_space, prepare_failed
   */
  static async open(format: PreparedFormat, options: { source: number; fresh?: boolean }): Promise<PartFile> {
    const path = partPath(format);
    const empty = encodeHeader(format, options);
    const { O_RDWR, O_CREAT, O_NONBLOCK } = constants;
    const handle = await system(format, open(path, O_RDWR | O_CREAT | O_NONBLOCK, 0o666));
    let part: PartFile | undefined;
    try {
      const earlier = options.fresh ? undefined : await system(format, readTable(handle, format, empty));
      const table = earlier ?? new Uint32Array(format.layout.layers * format.layout.experts);
      part = new PartFile(format, handle, table);
      // Asked beforehand, so that an hour's work does not end at a full disk.
      const needed = format.fileBytes - (await takenBytes(handle));
      const free = await part.#system(freeBytes(path));
      if (needed > free) throw noSpace(format, needed, free, part.written > 0);
      if (!earlier) await part.#system(start(handle, format, empty));
      return part;
    } catch (error) {
      await (part ?? handle).close();
      throw error;
    }
  }

  private constructor(format: PreparedFormat, handle: FileHandle, table: Uint32Array) {
    this.#format = format;
    this.#handle = handle;
    this.#table = table;
  }

  /** Records that are written, as far as is known: those of an earlier run are to be verified yet. */
  get written(): number {
    return this.#table.reduce((count, sum) => (sum === 0 ? count : count + 1), 0);
  }

  /**
   * Whether an earlier run has written a record whole.
   * @param memory room for the record
   */
  async holds(layer: number, expert: number, memory: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const index = this.#index(layer, expert);
    const sum = this.#table[index]!;
    if (sum === 0) return false;
    const record = memory.subarray(0, classOf(this.#format.layout, layer).recordBytes);
    const position = recordOffset(this.#format, layer, expert);
    const found = await this.#system(readAll(this.#handle, record, position));
    if (found === record.length && (await crc32(record)) === sum) return true;
    this.#table[index] = 0;
    return false;
  }

  /** Writes a record, then its sum. @throws StowageError prepare_space, prepare_failed */
  async write(layer: number, expert: number, record: Uint8Array<ArrayBuffer>): Promise<void> {
    const sum = await crc32(record);
    await this.#system(writeAll(this.#handle, record, recordOffset(this.#format, layer, expert)));
    const index = this.#index(layer, expert);
    const entry = encodeTable(Uint32Array.of(sum));
    await this.#system(writeAll(this.#handle, entry, this.#format.tableOffset + 4 * index));
    this.#table[index] = sum;
  }

  /** Marks the file complete, brings it to the disk and gives it its name. @throws StowageError prepare_* */
  async finish(): Promise<void> {
    const { path, tableOffset } = this.#format;
    // A record may have had the sum 0, or one that was found wrong: the whole table once more.
    await this.#system(writeAll(this.#handle, encodeTable(this.#table), tableOffset));
    await this.#system(writeAll(this.#handle, encodeHeader(this.#format, { table: this.#table }), 0));
    await this.#system(this.#handle.sync());
    await this.#system(rename(partPath(this.#format), path));
    this.#renamed = true;
    await this.#system(syncFolder(dirname(path)));
  }

  /** Forgets all records: what was read for them was not what it should be. */
  discard(): void {
    this.#table.fill(0);
  }

  /** Keeps an unfinished file for the next run if there is anything in it, else removes it. */
  async close(): Promise<void> {
    await this.#handle.close();
    if (!this.#renamed && this.written === 0) await rm(partPath(this.#format), { force: true });
  }

  #index(layer: number, expert: number): number {
    return layer * this.#format.layout.experts + expert;
  }

  #system<T>(work: Promise<T>): Promise<T> {
    return system(this.#format, work, () => this.written > 0);
  }
}

/** The table of a part that has the very header of this file; undefined when there is nothing to go on from. */
async function readTable(
  handle: FileHandle,
  format: PreparedFormat,
  header: Buffer,
): Promise<Uint32Array | undefined> {
  if (!(await handle.stat()).isFile()) throw new Error("it is not a regular file");
  const start = new Uint8Array(format.recordsOffset);
  if ((await readAll(handle, start, 0)) < start.length) return undefined;
  if (!header.equals(start.subarray(0, header.length))) return undefined;
  await handle.truncate(format.fileBytes);
  return decodeTable(start, format);
}

/** An empty file of its full size, without any record. */
async function start(handle: FileHandle, { fileBytes }: PreparedFormat, header: Buffer): Promise<void> {
  await handle.truncate(0);
  await writeAll(handle, header, 0);
  await handle.truncate(fileBytes);
}

async function readAll(handle: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const { bytesRead } = await handle.read(target, filled, target.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** A rename is lasting only when the folder is on the disk too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Bytes of the disk that a part takes by now: it is sparse. */
async function takenBytes(handle: FileHandle): Promise<number> {
  return (await handle.stat()).blocks * 512;
}

/** Infinite on file systems that keep no count, such as ramfs: they say that they have no blocks at all. */
async function freeBytes(path: string): Promise<number> {
  const { blocks, bavail, bsize } = await statfs(dirname(path));
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

/** @param kept whether the next run can go on from what is there */
function noSpace(format: PreparedFormat, missingBytes: number, free: number, kept: boolean, cause?: unknown) {
  const { path } = format;
  const needed = Math.max(0, missingBytes);
  const missing = Math.max(0, needed - free);
  const details = { path, needed, free, missing, kept: sayKept(format, kept) };
  return new StowageError("prepare_space", details, { cause });
}

function sayKept(format: PreparedFormat, kept: boolean): string {
  return kept
    ? `What is done is kept in ${partPath(format)}, and the next run goes on from there.`
    : "Nothing of it is kept.";
}

async function system<T>(format: PreparedFormat, work: Promise<T>, kept = () => false): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof StowageError) throw error;
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOSPC" || code === "EDQUOT") {
      const taken = await stat(partPath(format)).then(
        ({ blocks }) => blocks * 512,
        () => 0,
      );
      const free = await freeBytes(format.path).catch(() => 0);
      throw noSpace(format, format.fileBytes - taken, free, kept(), error);
    }
    const reason = error instanceof Error ? error.message : String(error);
    const details = { path: format.path, reason, kept: sayKept(format, kept()) };
    throw new StowageError("prepare_failed", details, { cause: error });
  }
}
