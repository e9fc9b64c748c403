import { StowageError } from "../errors.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { ExpertConverter } from "./converter.ts";
import { DirectFile, type DirectFileOptions, type ReadCounters } from "./direct-file.ts";
import { classOf, type ExpertLayout } from "./layout.ts";
import type { ExpertStore } from "./store.ts";

export interface GgufStoreOptions extends Pick<DirectFileOptions, "onBuffered"> {
  /** Experts that are read and converted at once, at most; each takes memory. Default 4. */
  readonly readsAtOnce?: number;
}

const defaultReadsAtOnce = 4;
/** Memory for reads at once, bytes, unless one alone takes more. */
const mostBytes = 256 * 2 ** 20;

/** Reads experts from the model's own file, and converts them on arrival. */
export class GgufStore implements ExpertStore {
  readonly kind = "gguf";
  readonly counters: ReadCounters;
  /** Most memory that it takes for reads at once, bytes. */
  readonly bufferBytes: number;
  readonly #layout: ExpertLayout;
  readonly #backend: Backend;
  readonly #files: readonly DirectFile[];
  readonly #converters: ExpertConverter[] = [];
  readonly #idle: ExpertConverter[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #readsAtOnce: number;
  #taken = 0;
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  /**
   * Opens the model's files. Memory is taken when it is first needed.
   * @throws StowageError gguf_unreadable; expert_file_changed when a file is not the one whose header was read
   */
  static async open(
    file: GgufFile,
    layout: ExpertLayout,
    backend: Backend,
    options: GgufStoreOptions = {},
  ): Promise<GgufStore> {
    const counters: ReadCounters = { reads: 0, bytes: 0, ms: 0 };
    const files = await openShards(file, { ...options, counters });
    return new GgufStore(layout, backend, files, counters, options);
  }

  /** @param files given to the store, which closes them */
  constructor(
    layout: ExpertLayout,
    backend: Backend,
    files: readonly DirectFile[],
    counters: ReadCounters,
    options: GgufStoreOptions = {},
  ) {
    this.#layout = layout;
    this.#backend = backend;
    this.#files = files;
    this.counters = counters;
    const each = ExpertConverter.bytes(layout);
    const fitting = Math.max(1, Math.floor(mostBytes / each));
    this.#readsAtOnce = Math.min(options.readsAtOnce ?? defaultReadsAtOnce, fitting);
    this.bufferBytes = this.#readsAtOnce * each;
  }

  get unbuffered(): boolean {
    return this.#files.every(({ unbuffered }) => unbuffered);
  }

  /** @throws StowageError expert_read_failed, expert_file_truncated, expert_file_changed; native_disposed */
  read(layer: number, expert: number, target: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.#closed) return Promise.reject(new StowageError("native_disposed", { what: "An expert store" }));
    const work = this.#read(layer, expert, target);
    this.#running.add(work);
    const done = () => this.#running.delete(work);
    work.then(done, done);
    return work;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#running);
    for (const converter of this.#converters.splice(0)) converter.dispose();
    for (const file of this.#files) await file.close();
  }

  async #read(layer: number, expert: number, target: Uint8Array<ArrayBuffer>): Promise<void> {
    const { recordBytes } = classOf(this.#layout, layer);
    const converter = await this.#take();
    try {
      await converter.read(this.#files, layer, expert, target.subarray(0, recordBytes));
    } finally {
      this.#give(converter);
    }
    // A model file has no sums: what was written into it since is not told from what was there.
    const shards = new Set(this.#layout.sources[layer]!.flat().map(({ shard }) => shard));
    await Promise.all(Array.from(shards, (shard) => checkUnchanged(this.#files[shard]!)));
    this.counters.reads++;
  }

  /** A converter that nobody has; waits in order until there is one. */
  async #take(): Promise<ExpertConverter> {
    if (this.#taken >= this.#readsAtOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#taken++;
    const idle = this.#idle.pop();
    if (idle) return idle;
    try {
      const made = new ExpertConverter(this.#layout, this.#backend);
      this.#converters.push(made);
      return made;
    } catch (error) {
      this.#pass();
      throw error;
    }
  }

  #give(converter: ExpertConverter): void {
    this.#idle.push(converter);
    this.#pass();
  }

  /** To who waits longest; else the place is free. */
  #pass(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#taken--;
  }
}

/** @throws StowageError gguf_unreadable, expert_file_changed; no file stays open when it throws */
export async function openShards(file: GgufFile, options: DirectFileOptions = {}): Promise<DirectFile[]> {
  const files: DirectFile[] = [];
  try {
    for (const { path, bytes } of file.shards) {
      const opened = await openShard(path, options);
      files.push(opened);
      if ((await opened.size()) !== bytes) throw new StowageError("expert_file_changed", { path });
    }
    return files;
  } catch (error) {
    for (const opened of files) await opened.close();
    throw error;
  }
}

async function openShard(path: string, options: DirectFileOptions): Promise<DirectFile> {
  try {
    return await DirectFile.open(path, options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StowageError("gguf_unreadable", { path, reason }, { cause: error });
  }
}

/** @throws StowageError expert_file_changed */
export async function checkUnchanged(file: DirectFile): Promise<void> {
  if (await file.changed()) throw new StowageError("expert_file_changed", { path: file.path });
}
