import { StowageError } from "../errors.ts";
import { AlignedMemory } from "../ggml/aligned.ts";
import { crc32 } from "../ggml/checksum.ts";
import { DirectFile, type DirectFileOptions, type ReadCounters, readForExpert } from "./direct-file.ts";
import { classOf } from "./layout.ts";
import { checkPrepared, type PreparedFormat, recordOffset } from "./prepared-file.ts";
import type { ExpertStore } from "./store.ts";

/**
 * Reads records from a prepared file straight into their slots. Each is verified when it is first read, and again once
 * anything has written into the file since: verifying every read took a third of the time of decoding.
 */
export class PreparedStore implements ExpertStore {
  readonly kind = "prepared";
  readonly counters: ReadCounters;
  readonly #format: PreparedFormat;
  readonly #file: DirectFile;
  readonly #table: Uint32Array;
  /** By record: 1 when it was found good in the file as it is. */
  readonly #verified: Uint8Array;
  #stamp: string;
  readonly #running = new Set<Promise<void>>();

  /**
   * Opens and checks the prepared file of a model.
   * @throws StowageError prepared_file_missing, prepared_file_stale, prepared_file_invalid; expert_read_failed
   */
  static async open(
    format: PreparedFormat,
    options: Pick<DirectFileOptions, "onBuffered"> = {},
  ): Promise<PreparedStore> {
    const { path, recordsOffset } = format;
    const counters: ReadCounters = { reads: 0, bytes: 0, ms: 0 };
    let file: DirectFile | undefined;
    const memory = new AlignedMemory(recordsOffset);
    try {
      file = await DirectFile.open(path, { ...options, counters });
      const length = await file.read(memory.bytes, 0);
      const table = checkPrepared(format, memory.bytes.subarray(0, length), await file.size());
      Object.assign(counters, { bytes: 0, ms: 0 });
      return new PreparedStore(format, file, table, counters);
    } catch (error) {
      await file?.close();
      if (error instanceof StowageError) throw error;
      if (error instanceof Error && "code" in error && error.code === "ENOENT")
        throw new StowageError("prepared_file_missing", { path }, { cause: error });
      const reason = error instanceof Error ? error.message : String(error);
      throw new StowageError("prepared_file_unreadable", { path, reason }, { cause: error });
    } finally {
      memory.dispose();
    }
  }

  /** @param file given to the store, which closes it */
  constructor(format: PreparedFormat, file: DirectFile, table: Uint32Array, counters: ReadCounters) {
    this.#format = format;
    this.#file = file;
    this.#table = table;
    this.#verified = new Uint8Array(table.length);
    this.#stamp = file.stamp;
    this.counters = counters;
  }

  get unbuffered(): boolean {
    return this.#file.unbuffered;
  }

  /** @throws StowageError expert_read_failed, expert_file_truncated, expert_record_damaged; native_disposed */
  read(layer: number, expert: number, target: Uint8Array<ArrayBuffer>): Promise<void> {
    const work = this.#read(layer, expert, target);
    this.#running.add(work);
    const done = () => this.#running.delete(work);
    work.then(done, done);
    return work;
  }

  async close(): Promise<void> {
    // Sums are taken of targets that belong to the caller: waited for, as the reads are.
    await Promise.allSettled(this.#running);
    await this.#file.close();
  }

  async #read(layer: number, expert: number, target: Uint8Array<ArrayBuffer>): Promise<void> {
    const { layout } = this.#format;
    const { recordBytes } = classOf(layout, layer);
    const record = target.length === recordBytes ? target : target.subarray(0, recordBytes);
    const position = recordOffset(this.#format, layer, expert);
    await readForExpert(this.#file, { layer, expert }, record, position, recordBytes);
    this.#noticeChange();
    const index = layer * layout.experts + expert;
    if (this.#verified[index] === 0) await this.#verify(record, index, { layer, expert });
    this.counters.reads++;
  }

  /** What was found good before somebody wrote into the file says nothing of what was read since. */
  #noticeChange(): void {
    const stamp = this.#file.stampNow;
    if (stamp === this.#stamp) return;
    this.#verified.fill(0);
    this.#stamp = stamp;
  }

  async #verify(record: Uint8Array, index: number, of: { layer: number; expert: number }): Promise<void> {
    const stamp = this.#stamp;
    const found = await crc32(record);
    const expected = this.#table[index]!;
    if (found !== expected) {
      throw new StowageError("expert_record_damaged", { ...of, path: this.#file.path, found, expected });
    }
    if (stamp === this.#stamp) this.#verified[index] = 1;
  }
}
