import { fault, quoted } from "./fault.ts";
import { checkStringLength, type HeaderReader } from "./header-reader.ts";
import {
  arrayTypeId,
  type GgufArray,
  type GgufNumberType,
  type GgufScalarType,
  type GgufValue,
  scalarTypeOf,
  scalarTypes,
} from "./values.ts";

/**
 * Reads the type and the value of metadata `key`. Arrays are checked here and decoded each time that their
 * `value` is asked for; until then they cost no more than their bytes.
 *
 * @throws `gguf_metadata_type`, `gguf_metadata_value`, `gguf_string`, `gguf_count`
 */
export function readValue(reader: HeaderReader, key: string): GgufValue {
  const field = quoted(key);
  const id = reader.u32(`type of ${field}`);
  if (id === arrayTypeId) return readArray(reader, field);
  const type = scalarTypeOf(id);
  if (type === undefined) throw fault("gguf_metadata_type", reader.path, field, id, "a type from 0 to 12");
  if (type === "string") return { type, value: reader.text(field) };
  const start = reader.take(scalarTypes[type].bytes, field);
  if (type === "bool") checkBools(reader, field, start, 1);
  return scalar(type, reader.buffer, start);
}

function scalar(type: Exclude<GgufScalarType, "string">, bytes: Buffer, at: number): GgufValue {
  if (type === "bool") return { type, value: bytes[at] === 1 };
  if (type === "u64") return { type, value: bytes.readBigUInt64LE(at) };
  if (type === "i64") return { type, value: bytes.readBigInt64LE(at) };
  return { type, value: numberReaders[type](bytes, at) };
}

const numberReaders: Readonly<Record<GgufNumberType, (bytes: Buffer, at: number) => number>> = {
  u8: (bytes, at) => bytes.readUInt8(at),
  i8: (bytes, at) => bytes.readInt8(at),
  u16: (bytes, at) => bytes.readUInt16LE(at),
  i16: (bytes, at) => bytes.readInt16LE(at),
  u32: (bytes, at) => bytes.readUInt32LE(at),
  i32: (bytes, at) => bytes.readInt32LE(at),
  f32: (bytes, at) => bytes.readFloatLE(at),
  f64: (bytes, at) => bytes.readDoubleLE(at),
};

function readArray(reader: HeaderReader, field: string): GgufArray {
  const id = reader.u32(`element type of ${field}`);
  if (id === arrayTypeId) {
    throw fault(
      "gguf_metadata_type",
      reader.path,
      `element type of ${field}`,
      "array",
      "no array within an array",
    );
  }
  const of = scalarTypeOf(id);
  if (of === undefined) {
    throw fault("gguf_metadata_type", reader.path, `element type of ${field}`, id, "a type from 0 to 12");
  }
  const count = readCount(reader, field, scalarTypes[of].bytes);
  const start = reader.position;
  if (of === "string") passStrings(reader, field, count);
  else reader.take(count * scalarTypes[of].bytes, field);
  if (of === "bool") checkBools(reader, field, start, count);
  return lazyArray(of, reader.buffer, start, count);
}

function readCount(reader: HeaderReader, field: string, elementBytes: number): number {
  const count = reader.u64(`length of ${field}`);
  const most = Math.floor(reader.left / elementBytes);
  if (count > most) {
    const limit = `at most ${most} elements fit in the ${reader.left} bytes that remain`;
    throw fault("gguf_count", reader.path, `length of ${field}`, count, limit);
  }
  return Number(count);
}

// Vocabularies have hundreds of thousands of strings: names for errors are made only when they are needed.
function passStrings(reader: HeaderReader, field: string, count: number): void {
  // The lengths alone take so much: what is too long for a header is refused before it is read.
  reader.need(count * 8, field);
  for (let i = 0; i < count; i++) {
    if (reader.loaded < 8) reader.need(8, `length of ${field}[${i}]`);
    const length = readLength(reader);
    reader.position += 8;
    if (length > reader.loaded) {
      const exact = reader.buffer.readBigUInt64LE(reader.position - 8);
      checkStringLength(reader.path, `${field}[${i}]`, exact, reader.left);
      reader.need(length, `${field}[${i}]`);
    }
    reader.position += length;
  }
}

/** A u64 as a number: exact below 2^53, and above that still greater than any file. */
function readLength(reader: HeaderReader): number {
  const { buffer } = reader;
  return buffer.readUInt32LE(reader.position) + buffer.readUInt32LE(reader.position + 4) * 2 ** 32;
}

function checkBools(reader: HeaderReader, field: string, start: number, count: number): void {
  const bytes = reader.buffer.subarray(start, start + count);
  const wrong = bytes.findIndex((byte) => byte > 1);
  if (wrong >= 0) {
    throw fault("gguf_metadata_value", reader.path, field, bytes[wrong]!, "a bool is 0 or 1");
  }
}

function lazyArray(of: GgufScalarType, bytes: Buffer, start: number, count: number): GgufArray {
  const array = {
    type: "array",
    of,
    get value() {
      return decodeArray(of, bytes, start, count);
    },
  };
  return array as GgufArray;
}

function decodeArray(of: GgufScalarType, bytes: Buffer, start: number, count: number) {
  if (of === "string") return decodeStrings(bytes, start, count);
  const end = start + count * scalarTypes[of].bytes;
  if (of === "bool") return Array.from(bytes.subarray(start, end), (byte) => byte === 1);
  // The copy begins at offset 0, as typed arrays want it. Hosts are little endian, like the file.
  const { buffer } = new Uint8Array(bytes.subarray(start, end));
  if (of === "u64") return Array.from(new BigUint64Array(buffer));
  if (of === "i64") return Array.from(new BigInt64Array(buffer));
  return Array.from(new numberArrays[of](buffer));
}

const numberArrays = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
} as const satisfies Record<GgufNumberType, unknown>;

/** The lengths were checked when the array was read. */
function decodeStrings(bytes: Buffer, start: number, count: number): string[] {
  const strings: string[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const begin = at + 8;
    at = begin + bytes.readUInt32LE(begin - 8);
    strings.push(bytes.toString("utf8", begin, at));
  }
  return strings;
}
