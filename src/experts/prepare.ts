import { isDeepStrictEqual } from "node:util";
import { crc32 } from "node:zlib";
import { StowageError } from "../errors.ts";
import { AlignedMemory } from "../ggml/aligned.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { ExpertConverter } from "./converter.ts";
import type { DirectFile } from "./direct-file.ts";
import { modelIdentity } from "./fingerprint.ts";
import { checkUnchanged, openShards } from "./gguf-store.ts";
import { allRecordBytes, allRecords, classOf, type ExpertLayout } from "./layout.ts";
import { PartFile } from "./part-file.ts";
import { type PreparedFormat, preparedFormat } from "./prepared-file.ts";
import { PreparedStore } from "./prepared-store.ts";

export interface PrepareOptions {
  /** Where to write. Default: beside the model. */
  readonly path?: string;
  /** Write it all anew, also where there is a good file, and without what an earlier run has left. */
  readonly force?: boolean;
  /** Told after each record: bytes done, those of an earlier run included, and in all. */
  readonly progress?: (done: number, total: number) => void;
  /** Aborting it ends the work between two records; what is done is kept for the next run. */
  readonly signal?: AbortSignal;
}

export interface Prepared {
  readonly path: string;
  /** Size of the file. */
  readonly bytes: number;
  readonly records: number;
  /** Records that were written by this run; the others are of an earlier one. */
  readonly written: number;
}

/** Memory for records at work, bytes, unless one alone takes more. */
const mostBytes = 256 * 2 ** 20;

/**
 * Writes the prepared file of a model's experts: each as one record, in the layout of the kernels, made by ggml itself.
 * The file appears whole. A run that was stopped, in whatever way, leaves `.part` behind, and the next one goes on from
 * its records as far as they are sound. A good file that is there already is left as it is.
 *
 * Several records are at work at once: while one is read, others are converted and written. Takes at most 256 MiB for
 * them, or what one record needs.
 * @throws StowageError prepare_space, prepare_failed, expert_read_failed, expert_file_truncated, expert_file_changed,
 *   gguf_unreadable, gguf_truncated, native_call_failed; the signal's reason when it is aborted
 */
export async function prepare(
  file: GgufFile,
  layout: ExpertLayout,
  backend: Backend,
  options: PrepareOptions = {},
): Promise<Prepared> {
  options.signal?.throwIfAborted();
  const format = await preparedFormat(file, layout, backend, options.path);
  const records = allRecords(layout).length;
  const { path, fileBytes: bytes } = format;
  if (!options.force && (await isPrepared(format))) return { path, bytes, records, written: 0 };
  const shards = await openShards(file);
  try {
    const source = crc32(shards.map(({ stamp }) => stamp).join());
    const part = await PartFile.open(format, { source, fresh: options.force ?? false });
    try {
      const written = await writeRecords(format, shards, backend, part, options);
      await checkModel(file, format, shards, part);
      try {
        await part.finish();
      } catch (error) {
        // Of two runs at once, which write the same bytes, the other may have given the file its name.
        if (!(await isPrepared(format))) throw error;
      }
      return { path, bytes, records, written };
    } finally {
      await part.close();
    }
  } finally {
    for (const shard of shards) await shard.close();
  }
}

async function isPrepared(format: PreparedFormat): Promise<boolean> {
  try {
    await (await PreparedStore.open(format)).close();
    return true;
  } catch (error) {
    if (error instanceof StowageError && error.code.startsWith("prepared_file_")) return false;
    throw error;
  }
}

/** Returns how many records were written; the others were there. */
async function writeRecords(
  { layout }: PreparedFormat,
  shards: readonly DirectFile[],
  backend: Backend,
  part: PartFile,
  { progress, signal }: PrepareOptions,
): Promise<number> {
  const total = allRecordBytes(layout);
  const records = allRecords(layout);
  const most = Math.max(...layout.classes.map(({ recordBytes }) => recordBytes));
  let [next, done, written] = [0, 0, 0];
  let failed = false;
  const work = async () => {
    const memory = new AlignedMemory(most);
    let converter: ExpertConverter | undefined;
    try {
      converter = new ExpertConverter(layout, backend);
      while (next < records.length && !failed) {
        signal?.throwIfAborted();
        const [layer, expert] = records[next++]!;
        const record = memory.bytes.subarray(0, classOf(layout, layer).recordBytes);
        if (!(await part.holds(layer, expert, record))) {
          await converter.read(shards, layer, expert, record);
          await part.write(layer, expert, record);
          written++;
        }
        done += record.length;
        progress?.(done, total);
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      converter?.dispose();
      memory.dispose();
    }
  };
  const fitting = Math.max(1, Math.floor(mostBytes / (most + ExpertConverter.bytes(layout))));
  // One more than there are threads: somebody waits for the disk.
  const workers = Math.min(backend.threads + 1, fitting, records.length);
  const results = await Promise.allSettled(Array.from({ length: workers }, work));
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return written;
}

/** A model that was exchanged or written to meanwhile must not leave a file that passes for that of either. */
async function checkModel(
  file: GgufFile,
  { description, layout }: PreparedFormat,
  shards: readonly DirectFile[],
  part: PartFile,
): Promise<void> {
  try {
    for (const shard of shards) await checkUnchanged(shard);
    const { model } = JSON.parse(description.toString()) as { model: unknown };
    if (!isDeepStrictEqual(model, await modelIdentity(file, layout)))
      throw new StowageError("expert_file_changed", { path: file.path });
  } catch (error) {
    part.discard();
    throw error;
  }
}
