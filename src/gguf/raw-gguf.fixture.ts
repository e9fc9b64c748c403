/** Builds GGUF files byte by byte for tests, so that any part of them can be wrong. */

export const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
export const u64 = (value: number | bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return bytes;
};
export const string = (text: string | Buffer) =>
  Buffer.concat([u64(Buffer.from(text).length), Buffer.from(text)]);

/** Type numbers of metadata values. */
export const id = { u8: 0, u32: 4, f32: 6, bool: 7, string: 8, array: 9, u64: 10 };

export const entry = (key: string | Buffer, type: number, ...value: Buffer[]) =>
  Buffer.concat([string(key), u32(type), ...value]);
export const array = (key: string, type: number, count: number | bigint, ...rest: Buffer[]) =>
  entry(key, id.array, u32(type), u64(count), ...rest);
export const architecture = entry("general.architecture", id.string, string("llama"));
export const alignment = (value: number) => entry("general.alignment", id.u32, u32(value));

export interface RawTensor {
  name?: string | Buffer;
  count?: number;
  dims?: (number | bigint)[];
  type?: number;
  offset?: number | bigint;
}

/** An F32 tensor of 8 elements (32 bytes) named "a" at offset 0, but for what is given. */
export function tensor({
  name = "a",
  dims = [8],
  count = dims.length,
  type = 0,
  offset = 0,
}: RawTensor = {}) {
  return Buffer.concat([string(name), u32(count), ...dims.map(u64), u32(type), u64(offset)]);
}

export interface Raw {
  magic?: string;
  version?: number;
  tensorCount?: number | bigint;
  entryCount?: number | bigint;
  entries?: Buffer[];
  tensors?: Buffer[];
  /** Bytes of tensor data. */
  data?: number;
  align?: number;
}

/** A good file with one metadata entry and one tensor, but for what is given. */
export function raw(parts: Raw = {}): Buffer {
  const {
    magic = "GGUF",
    version = 3,
    entries = [architecture],
    tensors = [tensor()],
    data = 32,
    align = 32,
  } = parts;
  const { tensorCount = tensors.length, entryCount = entries.length } = parts;
  const counts = [u64(tensorCount), u64(entryCount)];
  const header = Buffer.concat([Buffer.from(magic), u32(version), ...counts, ...entries, ...tensors]);
  return Buffer.concat([header, Buffer.alloc(-header.length & (align - 1)), Buffer.alloc(data)]);
}
