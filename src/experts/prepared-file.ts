/**
 * The prepared file: the records of a model's experts, beside the model. Little-endian.
 *
 * - byte 0: magic, 8 bytes; then 32-bit numbers: version, bytes of the description, 1 once the file is complete, CRC-32
 *   of the table, CRC-32 of all before and of the description, and while it is incomplete a mark of the model's files;
 * - byte 32: the description, JSON: which model, which layout, which records;
 * - at the next multiple of 4096, the table: a CRC-32 for each expert of each layer, 0 where a layer has none;
 * - at the next multiple of 4096, the records, by layer, then by expert.
 *
 * Who opens a file knows what its description has to be, byte for byte, and where everything is: nothing that is read
 * from the file is used to find anything in it.
 */
import { crc32 } from "node:zlib";
import { StowageError } from "../errors.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { layoutFingerprint, modelIdentity } from "./fingerprint.ts";
import { allRecordBytes, classOf, type ExpertLayout, recordAlignment } from "./layout.ts";

const magic = Buffer.from("STOWEXP\n");
const version = 1;
const descriptionOffset = 32;
const fields = { version: 8, description: 12, complete: 16, table: 20, header: 24, source: 28 } as const;

/** What the prepared file of a model has to be. */
export interface PreparedFormat {
  readonly path: string;
  readonly layout: ExpertLayout;
  readonly description: Buffer;
  /** Byte at which the table begins, and at which the first record does. */
  readonly tableOffset: number;
  readonly recordsOffset: number;
  readonly fileBytes: number;
  /** Byte at which the first record of each layer begins. */
  readonly layerOffsets: readonly number[];
}

/** Where the prepared file of a model is: beside it. @param model its path, or that of its first part */
export function preparedPath(model: string): string {
  return `${model}.experts`;
}

/**
 * Works out what the prepared file of a model has to be; reads the model's header.
 * @throws StowageError gguf_unreadable, gguf_truncated
 */
export async function preparedFormat(
  file: GgufFile,
  layout: ExpertLayout,
  backend: Backend,
  path = preparedPath(file.path),
): Promise<PreparedFormat> {
  const { layers, experts, classes, layerClass } = layout;
  const facts: Record<Subject, unknown> = {
    model: await modelIdentity(file, layout),
    kernels: await layoutFingerprint(layout, backend),
    records: { layers, experts, classes, layerClass },
  };
  const description = Buffer.from(JSON.stringify(facts));
  const tableOffset = roundUp(descriptionOffset + description.length);
  const recordsOffset = roundUp(tableOffset + 4 * layers * experts);
  let end = recordsOffset;
  const layerOffsets = layerClass.map((index, layer) => {
    const begin = end;
    if (index !== null) end += classOf(layout, layer).recordBytes * experts;
    return begin;
  });
  const fileBytes = recordsOffset + allRecordBytes(layout);
  return { path, layout, description, tableOffset, recordsOffset, fileBytes, layerOffsets };
}

/** What a description tells, and why a file whose description differs there is of no use. */
const subjects = {
  model: "it was made from another model file",
  kernels: "ggml lays matrices out in another way here than where it was made",
  records: "the experts are laid out in another way here than where it was made",
} as const;
type Subject = keyof typeof subjects;

/** Byte at which a record begins: a multiple of 4096. */
export function recordOffset(
  { layout, layerOffsets }: PreparedFormat,
  layer: number,
  expert: number,
): number {
  return layerOffsets[layer]! + expert * classOf(layout, layer).recordBytes;
}

/**
 * All that comes before the table.
 * @param state the table of a complete file; or a mark of the model's files as an incomplete one has met them
 */
export function encodeHeader(
  { description, tableOffset }: PreparedFormat,
  { table, source = 0 }: { table?: Uint32Array; source?: number },
): Buffer {
  const header = Buffer.alloc(tableOffset);
  magic.copy(header);
  header.writeUInt32LE(version, fields.version);
  header.writeUInt32LE(description.length, fields.description);
  header.writeUInt32LE(table ? 1 : 0, fields.complete);
  header.writeUInt32LE(table ? crc32(encodeTable(table)) : 0, fields.table);
  header.writeUInt32LE(headerSum(header, description), fields.header);
  header.writeUInt32LE(source, fields.source);
  description.copy(header, descriptionOffset);
  return header;
}

export function encodeTable(table: Uint32Array): Buffer {
  const bytes = Buffer.alloc(4 * table.length);
  table.forEach((sum, index) => {
    bytes.writeUInt32LE(sum, 4 * index);
  });
  return bytes;
}

/** The table of a file. @param start the file's first bytes, up to the first record or to its end */
export function decodeTable(start: Uint8Array, { tableOffset, layout }: PreparedFormat): Uint32Array {
  const bytes = Buffer.from(start.buffer, start.byteOffset, start.length);
  const count = layout.layers * layout.experts;
  return Uint32Array.from({ length: count }, (_, index) => bytes.readUInt32LE(tableOffset + 4 * index));
}

/**
 * Checks a file against what it has to be.
 * @param start its first bytes, up to the first record or to its end
 * @param fileBytes its size
 * @returns its table
 * @throws StowageError prepared_file_invalid when it is damaged, prepared_file_stale when it is of something else
 */
export function checkPrepared(format: PreparedFormat, start: Uint8Array, fileBytes: number): Uint32Array {
  const { path, description, recordsOffset } = format;
  const invalid = (field: string, value: string | number, limit: string) =>
    new StowageError("prepared_file_invalid", { path, field, value, limit });
  const stale = (reason: string) => new StowageError("prepared_file_stale", { path, reason });

  const header = Buffer.from(start.buffer, start.byteOffset, start.length);
  if (header.length < descriptionOffset)
    throw invalid("size", `${fileBytes} bytes`, `the header has ${descriptionOffset}`);
  if (!header.subarray(0, magic.length).equals(magic)) {
    const found = `hex ${header.subarray(0, magic.length).toString("hex")}`;
    throw invalid("magic", found, `it has to be hex ${magic.toString("hex")}`);
  }
  const foundVersion = header.readUInt32LE(fields.version);
  if (foundVersion !== version)
    throw stale(`it has version ${foundVersion}, and this release reads ${version}`);

  const length = header.readUInt32LE(fields.description);
  if (length > header.length - descriptionOffset) {
    // Longer than all of this model's header: if the file is sound, it is of another.
    if (length > fileBytes - descriptionOffset)
      throw invalid("length of the description", length, `the file has ${fileBytes} bytes`);
    throw stale(subjects.records);
  }
  const found = header.subarray(descriptionOffset, descriptionOffset + length);
  const sum = header.readUInt32LE(fields.header);
  const expectedSum = headerSum(header, found);
  if (sum !== expectedSum) throw invalid("CRC-32 of the header", sum, `its bytes have ${expectedSum}`);
  if (!found.equals(description)) throw stale(differenceOf(found, description));

  if (fileBytes !== format.fileBytes)
    throw invalid("size", `${fileBytes} bytes`, `it has to be ${format.fileBytes}`);
  if (start.length < recordsOffset) throw invalid("size", start.length, `the header has ${recordsOffset}`);
  if (header.readUInt32LE(fields.complete) !== 1)
    throw invalid("mark of completeness", header.readUInt32LE(fields.complete), "it has to be 1");
  const table = decodeTable(start, format);
  const tableSum = crc32(encodeTable(table));
  if (tableSum !== header.readUInt32LE(fields.table))
    throw invalid("CRC-32 of the table", header.readUInt32LE(fields.table), `its bytes have ${tableSum}`);
  return table;
}

function headerSum(header: Buffer, description: Buffer): number {
  return crc32(description, crc32(header.subarray(0, fields.header)));
}

/** Why two descriptions are not the same. */
function differenceOf(found: Buffer, expected: Buffer): string {
  const [a, b] = [found, expected].map((bytes) => {
    try {
      return JSON.parse(bytes.toString()) as Record<string, unknown> | null;
    } catch {
      return null;
    }
  });
  const subject = (Object.keys(subjects) as Subject[]).find(
    (key) => JSON.stringify(a?.[key]) !== JSON.stringify(b?.[key]),
  );
  return subjects[subject ?? "records"];
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / recordAlignment) * recordAlignment;
}
