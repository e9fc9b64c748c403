import { alignUp } from "./alignment.ts";
import { fault, quoted } from "./fault.ts";
import { type GgufScalarType, scalarTypes } from "./values.ts";

type Scalar = number | bigint | boolean | string;

/** Encodes a header into a little-endian buffer that grows as it is written. */
export class HeaderWriter {
  readonly path: string;
  #buffer = Buffer.alloc(64 * 1024);
  #length = 0;

  constructor(path: string) {
    this.path = path;
  }

  ascii(text: string): void {
    const at = this.#grow(text.length);
    this.#buffer.write(text, at, "ascii");
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#buffer.writeUInt32LE(value, at);
  }

  u64(value: number | bigint): void {
    const at = this.#grow(8);
    this.#buffer.writeBigUInt64LE(BigInt(value), at);
  }

  /** @throws `gguf_write_value` for text that UTF-8 cannot hold. */
  string(text: string, field: string): void {
    if (!text.isWellFormed()) {
      throw fault("gguf_write_value", this.path, field, quoted(text), "UTF-8 has no half surrogate pairs");
    }
    const bytes = Buffer.byteLength(text);
    this.u64(bytes);
    const at = this.#grow(bytes);
    this.#buffer.write(text, at, "utf8");
  }

  /** @throws `gguf_write_value` when `type` cannot hold `value`. */
  scalar(type: GgufScalarType, value: Scalar, field: string): void {
    if (!holds(type, value)) {
      const shown = typeof value === "string" ? quoted(value) : String(value);
      throw fault("gguf_write_value", this.path, field, shown, `it must be a ${type}`);
    }
    if (typeof value === "string") this.string(value, field);
    else if (typeof value === "bigint") this.u64(BigInt.asUintN(64, value));
    else this.#number(type, Number(value));
  }

  /** All that was written, filled with zeros up to a multiple of `alignment`. */
  padded(alignment: number): Buffer {
    this.#grow(alignUp(this.#length, alignment) - this.#length);
    return this.#buffer.subarray(0, this.#length);
  }

  #number(type: GgufScalarType, value: number): void {
    const { bytes } = scalarTypes[type];
    const at = this.#grow(bytes);
    if (type === "f32") this.#buffer.writeFloatLE(value, at);
    else if (type === "f64") this.#buffer.writeDoubleLE(value, at);
    else if (value < 0) this.#buffer.writeIntLE(value, at, bytes);
    else this.#buffer.writeUIntLE(value, at, bytes);
  }

  #grow(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(grown);
      this.#buffer = grown;
    }
    return at;
  }
}

/** The types whose values lie in a range; of bigint where a number could not hold them exactly. */
const ranges: Readonly<Partial<Record<GgufScalarType, readonly [number | bigint, number | bigint]>>> = {
  u8: [0, 0xff],
  i8: [-0x80, 0x7f],
  u16: [0, 0xffff],
  i16: [-0x8000, 0x7fff],
  u32: [0, 0xffff_ffff],
  i32: [-0x8000_0000, 0x7fff_ffff],
  u64: [0n, 2n ** 64n - 1n],
  i64: [-(2n ** 63n), 2n ** 63n - 1n],
};

/** Whether `type` can hold `value`. A float may be rounded, but must not overflow. */
function holds(type: GgufScalarType, value: Scalar): boolean {
  if (type === "string") return typeof value === "string";
  if (type === "bool") return typeof value === "boolean";
  if (typeof value !== "number" && typeof value !== "bigint") return false;
  const range = ranges[type];
  if (range !== undefined) {
    const whole = typeof value === "bigint" || Number.isInteger(value);
    return whole && typeof value === typeof range[0] && value >= range[0] && value <= range[1];
  }
  if (typeof value === "bigint") return false;
  return type === "f64" || !Number.isFinite(value) || Number.isFinite(Math.fround(value));
}
