import { isUtf8 } from "node:buffer";
import { fault } from "./fault.ts";
import { maxHeaderBytes } from "./limits.ts";

/** Thrown when reading goes on past the bytes at hand, though the file has them: it takes its first `bytes`. */
export class MoreBytesNeeded extends Error {
  readonly bytes: number;

  constructor(bytes: number) {
    super(`${bytes} bytes are needed`);
    this.bytes = bytes;
  }
}

/**
 * Reads a header from front to back, little endian, out of the first bytes of a file. Every read names the field
 * that it is for, which errors then name.
 *
 * @throws `gguf_truncated` past the end of the file, `gguf_header_size` past 64 MiB, and `MoreBytesNeeded`.
 */
export class HeaderReader {
  readonly path: string;
  /** The first bytes of the file. */
  readonly buffer: Buffer;
  position = 0;
  readonly #fileBytes: number;

  constructor(path: string, fileBytes: number, buffer: Buffer) {
    this.path = path;
    this.#fileBytes = fileBytes;
    this.buffer = buffer;
  }

  /** Bytes from here to the end of the file. */
  get left(): number {
    return this.#fileBytes - this.position;
  }

  /** Bytes from here on that are at hand. */
  get loaded(): number {
    return this.buffer.length - this.position;
  }

  /** Makes sure that the next `bytes` (a safe integer) are at hand. */
  need(bytes: number, field: string): void {
    if (bytes <= this.loaded) return;
    const end = this.position + bytes;
    if (bytes > this.left) {
      const limit = `${this.left} bytes remain at byte ${this.position} of ${this.#fileBytes}`;
      throw fault("gguf_truncated", this.path, field, `${bytes} bytes`, limit);
    }
    if (end > maxHeaderBytes) {
      throw fault(
        "gguf_header_size",
        this.path,
        field,
        `${end} bytes`,
        `at most ${maxHeaderBytes} bytes are read`,
      );
    }
    throw new MoreBytesNeeded(end);
  }

  /** Passes over `bytes` and returns where they begin. */
  take(bytes: number, field: string): number {
    this.need(bytes, field);
    const start = this.position;
    this.position += bytes;
    return start;
  }

  u32(field: string): number {
    const at = this.take(4, field);
    return this.buffer.readUInt32LE(at);
  }

  u64(field: string): bigint {
    const at = this.take(8, field);
    return this.buffer.readBigUInt64LE(at);
  }

  i64(field: string): bigint {
    const at = this.take(8, field);
    return this.buffer.readBigInt64LE(at);
  }

  /**
   * A string value. Bytes that are not UTF-8 become U+FFFD: a value may be damaged text and its model still good.
   *
   * @throws `gguf_string` when the length goes past the end of the file.
   */
  text(field: string): string {
    const bytes = this.#stringBytes(field, this.left);
    return bytes.toString("utf8");
  }

  /**
   * A key or tensor name: 1 to `maxBytes` bytes of strict UTF-8 without control characters, since it is compared,
   * shown and handed to native code as a zero-terminated string.
   *
   * @throws `gguf_string`
   */
  identifier(field: string, maxBytes: number): string {
    const bytes = this.#stringBytes(field, maxBytes);
    if (bytes.length === 0)
      throw fault("gguf_string", this.path, field, "empty", "at least 1 byte is needed");
    const text = bytes.toString("utf8");
    if (!isUtf8(bytes) || /\p{Cc}/u.test(text)) {
      const hex = bytes.subarray(0, 32).toString("hex");
      throw fault(
        "gguf_string",
        this.path,
        field,
        `hex ${hex}`,
        "it must be UTF-8 without control characters",
      );
    }
    return text;
  }

  #stringBytes(field: string, maxBytes: number): Buffer {
    const length = this.u64(`length of ${field}`);
    if (length > maxBytes) {
      throw fault(
        "gguf_string",
        this.path,
        `length of ${field}`,
        length,
        `at most ${maxBytes} bytes are allowed`,
      );
    }
    checkStringLength(this.path, field, length, this.left);
    const start = this.take(Number(length), field);
    return this.buffer.subarray(start, this.position);
  }
}

/** @throws `gguf_string` when `length` bytes do not fit into the `left` bytes of the file. */
export function checkStringLength(path: string, field: string, length: bigint, left: number): void {
  if (length > left) {
    throw fault("gguf_string", path, `length of ${field}`, length, `${left} bytes remain in the file`);
  }
}
