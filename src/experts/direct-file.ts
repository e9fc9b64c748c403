import { type BigIntStats, constants, fstatSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { StowageError } from "../errors.ts";
import { recordAlignment } from "./layout.ts";

/** What is needed of an open file. */
export type ReadHandle = Pick<FileHandle, "fd" | "read" | "stat" | "close">;

/** What a store took from its files so far: plain numbers that only grow, for metrics. */
export interface ReadCounters {
  /** Records that were delivered whole. */
  reads: number;
  /** Bytes that were taken from files for them, alignment included. */
  bytes: number;
  /** Milliseconds from asking the system to its answer, summed over all reads: those that overlap count each. */
  ms: number;
}

export interface DirectFileOptions {
  readonly counters?: ReadCounters;
  /** Told once, when the file system refuses unbuffered reads. */
  readonly onBuffered?: (reason: StowageError) => void;
}

/**
 * A file that is read past the page cache, where its file system allows it. The file that was opened is read to the
 * end, also after another has taken its name.
 */
export class DirectFile {
  readonly path: string;
  readonly #options: DirectFileOptions;
  #handle: ReadHandle;
  #direct: boolean;
  #stamp = "";
  #reopened: Promise<void> | undefined;
  /** Handles that reads may still use. */
  readonly #old: ReadHandle[] = [];
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  /** @throws what the system throws when the file cannot be opened */
  static async open(path: string, options: DirectFileOptions = {}): Promise<DirectFile> {
    // A pipe in the file's place must not block a thread for ever.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const direct = constants.O_DIRECT ?? 0;
    let handle: FileHandle;
    let refusal: unknown = direct ? undefined : "this system has none";
    try {
      handle = await open(path, flags | direct);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      handle = await open(path, flags);
      refusal = error;
    }
    const file = new DirectFile(path, handle, refusal === undefined, options);
    try {
      file.#stamp = await stampOf(handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
    if (refusal !== undefined) file.#tellBuffered(refusal);
    return file;
  }

  /** @param handle given to this object, which closes it; open unbuffered if `direct` */
  constructor(path: string, handle: ReadHandle, direct: boolean, options: DirectFileOptions = {}) {
    this.path = path;
    this.#handle = handle;
    this.#direct = direct;
    this.#options = options;
  }

  /** Whether reads go past the page cache. */
  get unbuffered(): boolean {
    return this.#direct;
  }

  /** Size and time of the last change when it was opened: others once something has written into the file. */
  get stamp(): string {
    return this.#stamp;
  }

  /**
   * Reads from `position` on until there are `least` bytes in `target` or the file ends. Several reads may run at once.
   * @param target address and length at multiples of 4096, as `position`: unbuffered reads ask for it
   * @param least default: all of `target`
   * @returns how many bytes were read
   * @throws StowageError native_disposed after close; else what the system throws
   */
  async read(target: Uint8Array<ArrayBuffer>, position: number, least = target.length): Promise<number> {
    if (this.#closed) throw new StowageError("native_disposed", { what: `The file ${this.path}` });
    return this.#track(this.#fill(target, position, least));
  }

  /** Bytes of the file now. */
  async size(): Promise<number> {
    return this.#track(this.#handle.stat().then(({ size }) => size));
  }

  /** As {@link DirectFile.stamp}, now; asked on this thread, which takes some microseconds. */
  get stampNow(): string {
    return stampFrom(fstatSync(this.#handle.fd, { bigint: true }));
  }

  /** Whether something wrote into the file, or cut it, since it was opened. */
  async changed(): Promise<boolean> {
    return this.#track(stampOf(this.#handle).then((stamp) => stamp !== this.#stamp));
  }

  /** Waits for the reads that run. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#running);
    for (const handle of [this.#handle, ...this.#old]) await handle.close();
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    const done = () => this.#running.delete(work);
    work.then(done, done);
    return work;
  }

  async #fill(target: Uint8Array<ArrayBuffer>, position: number, least: number): Promise<number> {
    let filled = 0;
    while (filled < least) {
      // An unbuffered read that stopped between two blocks goes on from the start of the block.
      const from = this.#direct ? filled - (filled % recordAlignment) : filled;
      const end = from + (await this.#readOnce(target, from, position + from));
      if (end <= filled) return filled;
      filled = end;
    }
    return filled;
  }

  async #readOnce(target: Uint8Array<ArrayBuffer>, from: number, position: number): Promise<number> {
    const { counters } = this.#options;
    const direct = this.#direct;
    const started = performance.now();
    try {
      const { bytesRead } = await this.#handle.read(target, from, target.length - from, position);
      if (counters) counters.bytes += bytesRead;
      return bytesRead;
    } catch (error) {
      // Some file systems take the flag and refuse the read.
      if (!direct || !isRefusal(error)) throw error;
      this.#reopened ??= this.#reopenBuffered(error);
      await this.#reopened;
      return this.#readOnce(target, from, position);
    } finally {
      if (counters) counters.ms += performance.now() - started;
    }
  }

  /** By its descriptor: the path may name another file by now. */
  async #reopenBuffered(refusal: unknown): Promise<void> {
    const buffered = await open(`/proc/self/fd/${this.#handle.fd}`, constants.O_RDONLY);
    this.#old.push(this.#handle);
    this.#handle = buffered;
    this.#direct = false;
    this.#tellBuffered(refusal);
  }

  #tellBuffered(refusal: unknown): void {
    const reason = refusal instanceof Error ? refusal.message : String(refusal);
    const told = new StowageError("expert_reads_buffered", { path: this.path, reason }, { cause: refusal });
    this.#options.onBuffered?.(told);
  }
}

/**
 * Reads at least `least` bytes of a file for an expert.
 * @param target as for {@link DirectFile.read}
 * @throws StowageError expert_read_failed, expert_file_truncated
 */
export async function readForExpert(
  file: DirectFile,
  { layer, expert }: { layer: number; expert: number },
  target: Uint8Array<ArrayBuffer>,
  position: number,
  least: number,
): Promise<void> {
  const { path } = file;
  let found: number;
  let size: number | undefined;
  try {
    found = await file.read(target, position, least);
    if (found < least) size = await file.size();
  } catch (error) {
    if (error instanceof StowageError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StowageError("expert_read_failed", { layer, expert, path, reason }, { cause: error });
  }
  if (found >= least) return;
  const to = position + least;
  throw new StowageError("expert_file_truncated", { layer, expert, path, from: position, to, size });
}

/** The refusal of a flag, or of what it asks for. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EINVAL";
}

async function stampOf(handle: ReadHandle): Promise<string> {
  return stampFrom(await handle.stat({ bigint: true }));
}

/** The time of the last change of the file itself cannot be set back as that of its contents can. */
function stampFrom({ size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${size} ${mtimeNs} ${ctimeNs}`;
}
