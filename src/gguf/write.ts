import { type FileHandle, open, rename, rm, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { StowageError } from "../errors.ts";
import { encodeHeader, type Header, type TensorToWrite, withAlignment } from "./encode.ts";
import type { GgufTensor } from "./extents.ts";
import { fault, quoted, reasonOf } from "./fault.ts";
import { readShard } from "./shard.ts";
import type { ByteSource } from "./source.ts";
import type { GgufValueToWrite } from "./values.ts";

export type { TensorToWrite } from "./encode.ts";

/** A tensor's data: whole, or in chunks of any size. */
export type TensorData = Uint8Array | AsyncIterable<Uint8Array>;

/** A model to be written. */
export interface GgufToWrite<T extends TensorToWrite> {
  /** Written in this order. */
  readonly metadata: Iterable<readonly [string, GgufValueToWrite]>;
  /** Written in this order. */
  readonly tensors: Iterable<T>;
  /** Asked for each tensor in turn, when the one before it has been written. */
  readonly data: (tensor: T) => TensorData | Promise<TensorData>;
  /** Of the tensor data, in bytes; 32 unless given here or as `general.alignment` in the metadata. */
  readonly alignment?: number;
}

/**
 * Writes a GGUF file of version 3 at `path`, in place of any file there. Holds one tensor or chunk in memory at a
 * time. The file appears whole: it is written as `path.part`, synchronized to the disk and renamed; on failure the
 * part is removed and what was at `path` stays.
 *
 * @throws `gguf_write_value`, `gguf_write_size` when a tensor's data has not the bytes of its type and shape,
 *   `gguf_write_space` when the disk has too little room, `gguf_write_failed` when the disk or the folder refuses, and every error of `readShard` for a header that could
 *   not be read again. Errors of `data` pass through.
 */
export async function writeGguf<T extends TensorToWrite>(path: string, file: GgufToWrite<T>): Promise<void> {
  const tensors = [...file.tensors];
  const header = encodeHeader(path, withAlignment(path, file.metadata, file.alignment), tensors);
  const { tensors: placed } = await readShard(headerSource(path, header), 0);
  await checkSpace(path, header.fileBytes);
  const part = `${path}.part`;
  const handle = await onDisk(path, open(part, "w"));
  try {
    try {
      const out = new Output(path, handle);
      await out.write(header.bytes);
      for (const [i, tensor] of tensors.entries())
        await writeTensor(out, placed[i]!, await file.data(tensor));
      await out.padTo(header.fileBytes);
      await onDisk(path, handle.sync());
    } finally {
      await handle.close();
    }
    await onDisk(path, rename(part, path));
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  await onDisk(path, syncFolder(dirname(path)));
}

/** Asked beforehand, so that an hour's work does not end at a full disk. */
async function checkSpace(path: string, needed: number): Promise<void> {
  const { bavail, bsize } = await onDisk(path, statfs(dirname(path)));
  const free = bavail * bsize;
  if (needed > free)
    throw new StowageError("gguf_write_space", { path, needed, free, missing: needed - free });
}

/** The header as a file whose tensor data is not there yet: so the reader's checks are the writer's too. */
function headerSource(path: string, header: Header): ByteSource {
  return {
    path,
    size: header.fileBytes,
    async read(target, position) {
      const available = header.bytes.subarray(position, position + target.length);
      target.fill(0).set(available);
    },
    async close() {},
  };
}

/** Appends to a file, and counts. */
class Output {
  readonly path: string;
  readonly #handle: FileHandle;
  #position = 0;

  constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  async write(bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const rest = this.#handle.write(bytes, written, bytes.length - written, this.#position);
      const { bytesWritten } = await onDisk(this.path, rest);
      written += bytesWritten;
      this.#position += bytesWritten;
    }
  }

  async padTo(position: number): Promise<void> {
    await this.write(new Uint8Array(position - this.#position));
  }
}

async function writeTensor(out: Output, tensor: GgufTensor, data: TensorData): Promise<void> {
  await out.padTo(tensor.offset);
  const chunks = data instanceof Uint8Array ? [data] : data;
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > tensor.bytes) throw wrongSize(out.path, tensor, `at least ${bytes} bytes`);
    await out.write(chunk);
  }
  if (bytes < tensor.bytes) throw wrongSize(out.path, tensor, `${bytes} bytes`);
}

function wrongSize(path: string, { name, type, shape, bytes }: GgufTensor, found: string): StowageError {
  const limit = `${type} [${shape.join(", ")}] takes ${bytes} bytes`;
  return fault("gguf_write_size", path, `tensor ${quoted(name)}`, found, limit);
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

async function onDisk<T>(path: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    throw new StowageError("gguf_write_failed", { path, reason: reasonOf(error) }, { cause: error });
  }
}
