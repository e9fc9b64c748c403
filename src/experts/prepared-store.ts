import { StowageError } from "../errors.ts";
import { AlignedMemory } from "../ggml/aligned.ts";
import { crc32 } from "../ggml/checksum.ts";
import { DirectFile, type DirectFileOptions, type ReadCounters, readForExpert } from "./direct-file.ts";
import { classOf } from "./layout.ts";
import { checkPrepared, type PreparedFormat, recordOffset } from "./prepared-file.ts";
import type { ExpertStore } from "./store.ts";

/** Reads records from a prepared file straight into their slots, and verifies each. */
export class PreparedStore implements ExpertStore {
  readonly kind = "prepared";
  readonly counters: ReadCounters;
  readonly #format: PreparedFormat;
  readonly #file: DirectFile;
  readonly #table: Uint32Array;
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
    const found = await crc32(record);
    const expected = this.#table[layer * layout.experts + expert]!;
    if (found !== expected) {
      const { path } = this.#file;
      throw new StowageError("expert_record_damaged", { layer, expert, path, found, expected });
    }
    this.counters.reads++;
  }
}
