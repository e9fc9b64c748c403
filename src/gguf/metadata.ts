import type { StowageError } from "../errors.ts";
import { fault, quoted } from "./fault.ts";
import { describeType, type GgufValue } from "./values.ts";

/**
 * The metadata of a model file: typed access by key. Arrays are decoded anew at each call, so keep what is used
 * more than once. Every getter throws `gguf_metadata_missing` without the key (and without a fallback), and
 * `gguf_metadata_type`, naming the type found and the type expected, when the value has another type.
 */
export class Metadata implements Iterable<[string, GgufValue]> {
  readonly #values: ReadonlyMap<string, GgufValue>;
  readonly path: string;

  /** `path` is named in errors. */
  constructor(values: ReadonlyMap<string, GgufValue>, path: string) {
    this.#values = values;
    this.path = path;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** In the order of the file. */
  keys(): IterableIterator<string> {
    return this.#values.keys();
  }

  /** The value with its type in the file; `undefined` without the key. */
  get(key: string): GgufValue | undefined {
    return this.#values.get(key);
  }

  /** Keys and values in the order of the file, as `writeGguf` takes them. */
  [Symbol.iterator](): IterableIterator<[string, GgufValue]> {
    return this.#values.entries();
  }

  /**
   * Any integer or float type; `fallback` only where the key is missing.
   *
   * @throws `gguf_metadata_value` for a 64-bit integer beyond 2^53.
   */
  number(key: string, fallback?: number): number {
    if (fallback !== undefined && !this.has(key)) return fallback;
    const found = this.#require(key, "a number");
    if (typeof found.value === "number") return found.value;
    if (typeof found.value === "bigint") return this.#safe(key, found.value);
    throw this.#wrongType(key, found, "a number");
  }

  /** `fallback` only where the key is missing. */
  string(key: string, fallback?: string): string {
    if (fallback !== undefined && !this.has(key)) return fallback;
    const found = this.#require(key, "string");
    if (found.type === "string") return found.value;
    throw this.#wrongType(key, found, "string");
  }

  /** `fallback` only where the key is missing. */
  boolean(key: string, fallback?: boolean): boolean {
    if (fallback !== undefined && !this.has(key)) return fallback;
    const found = this.#require(key, "bool");
    if (found.type === "bool") return found.value;
    throw this.#wrongType(key, found, "bool");
  }

  /** An array of strings. Bytes that are not UTF-8 appear as U+FFFD. */
  strings(key: string): readonly string[] {
    const found = this.#require(key, "array of string");
    if (found.type === "array" && found.of === "string") return found.value;
    throw this.#wrongType(key, found, "array of string");
  }

  /**
   * An array of any integer or float type.
   *
   * @throws `gguf_metadata_value` for a 64-bit integer beyond 2^53.
   */
  numbers(key: string): readonly number[] {
    const found = this.#require(key, "array of numbers");
    if (found.type !== "array" || found.of === "string" || found.of === "bool") {
      throw this.#wrongType(key, found, "array of numbers");
    }
    const values: readonly (number | bigint)[] = found.value;
    if (found.of !== "u64" && found.of !== "i64") return values as readonly number[];
    return values.map((value) => this.#safe(key, BigInt(value)));
  }

  #require(key: string, expected: string): GgufValue {
    const found = this.#values.get(key);
    if (found === undefined)
      throw fault("gguf_metadata_missing", this.path, quoted(key), "missing", expected);
    return found;
  }

  #safe(key: string, value: bigint): number {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    const limit = `integers up to ${Number.MAX_SAFE_INTEGER} are supported`;
    throw fault("gguf_metadata_value", this.path, quoted(key), value, limit);
  }

  #wrongType(key: string, found: GgufValue, expected: string): StowageError {
    return fault("gguf_metadata_type", this.path, quoted(key), describeType(found), expected);
  }
}

/**
 * The model's architecture (`general.architecture`), as in `qwen3moe`: the prefix of its hyper-parameters' keys.
 *
 * @throws `gguf_metadata_missing`, `gguf_metadata_type`; `gguf_metadata_value` when it is empty.
 */
export function requireArchitecture(metadata: Metadata): string {
  const architecture = metadata.string("general.architecture");
  if (architecture === "") {
    throw fault(
      "gguf_metadata_value",
      metadata.path,
      '"general.architecture"',
      "empty",
      "it names a model family",
    );
  }
  return architecture;
}
