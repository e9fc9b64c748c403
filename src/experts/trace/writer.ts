import { type FileHandle, open } from "node:fs/promises";
import { promisify } from "node:util";
import { crc32, deflateRaw } from "node:zlib";
import { StowageError } from "../../errors.ts";
import { chunkBytes, chunkHeadBytes, magic, type RecordLayout, recordLayout } from "./format.ts";
import { dropSteps, type RoutingSource } from "./routing-log.ts";

const compress = promisify(deflateRaw);

/** One token of a step, to be recorded. */
export interface TokenToRecord {
  readonly request: number;
  readonly position: number;
  readonly token: number;
  readonly step: number;
  readonly decoded: boolean;
}

/** What is recorded of a token, by layer. */
export interface TokenRouting {
  /** Of the router, [experts] each. */
  readonly logits: readonly Float32Array[];
  /** Experts by falling rank, [used] each. */
  readonly chosen: readonly Int32Array[];
  /** See `RoutingLog.guessed` and `RoutingLog.early`. */
  readonly guessed: readonly Int32Array[];
  readonly early: readonly Int32Array[];
}

/** Mode of new files: tokens tell what somebody wrote. */
const ownerOnly = 0o600;
/** Chunks that wait for the disk at most, before {@link RoutingTraceWriter.ready} makes its caller wait. */
const mostWaiting = 4;

/** Writes a routing trace, see `format.ts`. One owner; `close` writes what is left and gives the file back. */
export class RoutingTraceWriter {
  readonly path: string;
  /** Bytes written. */
  bytes = 0;
  /** Tokens recorded. */
  tokens = 0;
  readonly #source: RoutingSource;
  readonly #layout: RecordLayout;
  readonly #handle: FileHandle;
  readonly #recordsAChunk: number;
  #chunk: Buffer;
  #records = 0;
  #waiting = 0;
  /** What is being written, one chunk after the other; fails with the first that fails. */
  #writing: Promise<void> = Promise.resolve();
  #failure: StowageError | undefined;

  /**
   * Starts a new file in the place of any other.
   * @param options.keepEarlier an earlier file stays: the first free number from 2 on is appended to the path
   * @throws StowageError routing_trace_write
   */
  static async create(
    path: string,
    source: RoutingSource,
    options: { readonly keepEarlier?: boolean } = {},
  ): Promise<RoutingTraceWriter> {
    let handle: FileHandle | undefined;
    try {
      const opened = options.keepEarlier
        ? await openFree(path)
        : { path, handle: await open(path, "w", ownerOnly) };
      handle = opened.handle;
      const head = Buffer.from(`${magic}${JSON.stringify(source)}\n`);
      await handle.writeFile(head);
      const writer = new RoutingTraceWriter(opened.path, source, handle);
      writer.bytes = head.length;
      return writer;
    } catch (cause) {
      await handle?.close();
      throw notWritten(path, cause);
    }
  }

  private constructor(path: string, source: RoutingSource, handle: FileHandle) {
    this.path = path;
    this.#source = source;
    this.#layout = recordLayout(source);
    this.#handle = handle;
    this.#recordsAChunk = Math.max(1, Math.floor(chunkBytes / this.#layout.bytes));
    this.#chunk = this.#newChunk();
  }

  /** Records one token. */
  add(token: TokenToRecord, routing: TokenRouting): void {
    const { layers, experts, used } = this.#source;
    const { peaks, drops, bytes, ...ids } = this.#layout;
    const chunk = this.#chunk;
    const start = this.#records * bytes;
    const head = [token.request, token.position, token.token, token.step, token.decoded ? 1 : 0];
    head.forEach((value, index) => {
      chunk.writeInt32LE(value | 0, start + index * 4);
    });
    for (let layer = 0; layer < layers; layer++) {
      const row = routing.logits[layer]!;
      let peak = Number.NEGATIVE_INFINITY;
      for (let expert = 0; expert < experts; expert++) peak = Math.max(peak, row[expert]!);
      chunk.writeFloatLE(peak, start + peaks + layer * 4);
      for (let rank = 0; rank < used; rank++) {
        const place = start + (layer * used + rank) * 2;
        for (const kind of ["chosen", "guessed", "early"] as const) {
          chunk.writeUInt16LE(routing[kind][layer]![rank]!, place + ids[kind]);
        }
      }
      const at = start + drops + layer * experts;
      for (let expert = 0; expert < experts; expert++) {
        chunk[at + expert] = Math.min(255, Math.round((peak - row[expert]!) * dropSteps));
      }
    }
    this.tokens++;
    if (++this.#records === this.#recordsAChunk) this.#flush();
  }

  /** When there is room for more: a disk that cannot follow makes its caller wait. @throws StowageError routing_trace_write */
  async ready(): Promise<void> {
    if (this.#waiting > mostWaiting) await this.#writing;
    if (this.#failure) throw this.#failure;
  }

  /** @throws StowageError routing_trace_write when something could not be written; the file is closed all the same */
  async close(): Promise<void> {
    if (this.#records > 0) this.#flush();
    await this.#writing;
    await this.#handle.close();
    if (this.#failure) throw this.#failure;
  }

  #flush(): void {
    const records = this.#records;
    const data = this.#chunk.subarray(0, records * this.#layout.bytes);
    this.#chunk = this.#newChunk();
    this.#records = 0;
    this.#waiting++;
    this.#writing = this.#writing.then(() => this.#write(data, records));
  }

  async #write(data: Buffer, records: number): Promise<void> {
    try {
      // After a chunk that was not written, nothing behind it could be read.
      if (this.#failure) return;
      const packed = await compress(data, { level: 1 });
      const head = Buffer.alloc(chunkHeadBytes);
      head.writeUInt32LE(packed.length, 0);
      head.writeUInt32LE(records, 4);
      head.writeUInt32LE(crc32(packed), 8);
      await this.#handle.writeFile(Buffer.concat([head, packed]));
      this.bytes += head.length + packed.length;
    } catch (cause) {
      this.#failure = notWritten(this.path, cause);
    } finally {
      this.#waiting--;
    }
  }

  #newChunk(): Buffer {
    return Buffer.alloc(this.#recordsAChunk * this.#layout.bytes);
  }
}

/** A new file at the path, or at the path with the first number behind it that no file has. */
async function openFree(path: string): Promise<{ readonly path: string; readonly handle: FileHandle }> {
  for (let number = 1; ; number++) {
    const free = number === 1 ? path : `${path}.${number}`;
    try {
      return { path: free, handle: await open(free, "wx", ownerOnly) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

function notWritten(path: string, cause: unknown): StowageError {
  return new StowageError("routing_trace_write", { path, reason: (cause as Error).message }, { cause });
}
