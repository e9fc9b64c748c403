import { alignmentKey, alignmentOf, alignUp } from "./alignment.ts";
import { type GgufTensor, placeTensors } from "./extents.ts";
import { fault, quoted } from "./fault.ts";
import { HeaderReader, MoreBytesNeeded } from "./header-reader.ts";
import { maxHeaderBytes, maxKeyBytes, maxMetadataEntries, maxTensors } from "./limits.ts";
import { Metadata } from "./metadata.ts";
import { readValue } from "./read-value.ts";
import type { ByteSource } from "./source.ts";
import { readTensorInfo, type TensorInfo } from "./tensors.ts";
import type { GgufValue } from "./values.ts";

/** One GGUF file: a whole model, or one shard of it. */
export interface Shard {
  readonly path: string;
  readonly version: number;
  readonly metadata: Metadata;
  /** In the order of the file. */
  readonly tensors: readonly GgufTensor[];
  /** Size of the file. */
  readonly bytes: number;
  /** Byte at which the tensor data begins. */
  readonly dataOffset: number;
}

const magic = 0x46554747; // "GGUF", read as a little-endian number
const magicReversed = 0x47475546;

/** Bytes of a file that are read first; when the header is longer, twice as many, and so on. */
const firstBytes = 64 * 1024;

/** Bytes of the shortest metadata entry: length and one byte of a key, type, a value of one byte. */
const leastEntryBytes = 14;
/** Bytes of the shortest tensor description: length and one byte of a name, one dimension, type, offset. */
const leastTensorBytes = 33;

/**
 * Reads and checks the header of one GGUF file (version 2 or 3, little endian) as shard number `index`. Reads no
 * tensor data. Every count, length, offset and extent is checked against the size of the source before it is used.
 *
 * @throws the `gguf_*` errors of the catalogue, naming the field, its value and the limit.
 */
export async function readShard(source: ByteSource, index: number): Promise<Shard> {
  let header = await readMore(source, Buffer.alloc(0), firstBytes);
  for (;;) {
    try {
      return parseShard(new HeaderReader(source.path, source.size, header), source.size, index);
    } catch (error) {
      if (!(error instanceof MoreBytesNeeded)) throw error;
      header = await readMore(source, header, Math.max(error.bytes, header.length * 2));
    }
  }
}

/** `header` with the bytes after it, `bytes` in all or as many as a header and the file may have. */
async function readMore(source: ByteSource, header: Buffer, bytes: number): Promise<Buffer> {
  const more = Buffer.allocUnsafeSlow(Math.min(bytes, source.size, maxHeaderBytes));
  header.copy(more);
  await source.read(more.subarray(header.length), header.length);
  return more;
}

function parseShard(reader: HeaderReader, fileBytes: number, index: number): Shard {
  const { path } = reader;
  const version = readVersion(reader);
  const tensorCount = readCount(reader, "tensor count", maxTensors, leastTensorBytes);
  const entryCount = readCount(reader, "metadata count", maxMetadataEntries, leastEntryBytes);
  const metadata = new Metadata(readMetadata(reader, entryCount), path);
  const infos = readTensorInfos(reader, tensorCount);
  const alignment = alignmentOf(metadata.get(alignmentKey), path);
  const dataOffset = alignUp(reader.position, alignment);
  const tensors = placeTensors(infos, { path, fileBytes, dataOffset, alignment }, index);
  return { path, version, metadata, tensors, bytes: fileBytes, dataOffset };
}

function readVersion(reader: HeaderReader): number {
  const found = reader.u32("magic");
  if (found === magicReversed) throw bigEndian(reader.path, "magic", "FUGG");
  if (found !== magic) {
    const value = `hex ${reader.buffer.subarray(0, 4).toString("hex")}`;
    throw fault("gguf_bad_magic", reader.path, "magic", value, 'a model file begins with "GGUF"');
  }
  const version = reader.u32("version");
  if (version !== 0 && (version & 0xffff) === 0) throw bigEndian(reader.path, "version", version);
  if (version !== 2 && version !== 3) {
    throw fault("gguf_version", reader.path, "version", version, "versions 2 and 3 are supported");
  }
  return version;
}

function bigEndian(path: string, field: string, value: string | number) {
  return fault("gguf_byte_order", path, field, value, "only little-endian files are supported");
}

function readCount(reader: HeaderReader, field: string, most: number, leastBytes: number): number {
  const count = reader.u64(field);
  const fitting = Math.floor(reader.left / leastBytes);
  if (count > fitting) {
    const limit = `at most ${fitting} fit in the ${reader.left} bytes that remain`;
    throw fault("gguf_count", reader.path, field, count, limit);
  }
  if (count > most) throw fault("gguf_count", reader.path, field, count, `at most ${most} are supported`);
  return Number(count);
}

function readMetadata(reader: HeaderReader, count: number): Map<string, GgufValue> {
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = reader.identifier(`key of metadata entry ${i}`, maxKeyBytes);
    if (values.has(key)) {
      throw fault(
        "gguf_duplicate",
        reader.path,
        `key of metadata entry ${i}`,
        quoted(key),
        "a key may come once",
      );
    }
    values.set(key, readValue(reader, key));
  }
  return values;
}

function readTensorInfos(reader: HeaderReader, count: number): TensorInfo[] {
  const infos: TensorInfo[] = [];
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    const info = readTensorInfo(reader, i);
    if (names.has(info.name)) {
      throw fault(
        "gguf_duplicate",
        reader.path,
        `name of tensor ${i}`,
        quoted(info.name),
        "a name may come once",
      );
    }
    names.add(info.name);
    infos.push(info);
  }
  return infos;
}
