import { StowageError } from "../errors.ts";
import type { Metadata } from "../gguf/metadata.ts";

/** What the families of today share: bounds keep later arithmetic inside exact integers. */
export const bounds = {
  layers: 4096,
  width: 1 << 20,
  heads: 4096,
  headWidth: 4096,
  feedForward: 1 << 22,
  experts: 4096,
  context: 1 << 27,
};

/**
 * Metadata of the file's architecture: keys without its name and the dot before them.
 * Each is checked; @throws StowageError gguf_metadata_missing, gguf_metadata_type, model_invalid
 */
export class ArchitectureKeys {
  readonly metadata: Metadata;
  readonly architecture: string;

  constructor(metadata: Metadata) {
    this.metadata = metadata;
    this.architecture = metadata.string("general.architecture");
  }

  key(name: string): string {
    return `${this.architecture}.${name}`;
  }

  has(name: string): boolean {
    return this.metadata.has(this.key(name));
  }

  /** A whole number in these bounds. */
  whole(name: string, low: number, high: number, fallback?: number): number {
    return checkWhole(this.key(name), this.metadata.number(this.key(name), fallback), low, high);
  }

  /** A number in these bounds. */
  real(name: string, low: number, high: number, fallback?: number): number {
    return checkReal(this.key(name), this.metadata.number(this.key(name), fallback), low, high);
  }
}

/** @throws StowageError model_invalid */
export function checkWhole(key: string, value: number, low: number, high: number): number {
  require(Number.isInteger(value) &&
    value >= low &&
    value <= high, key, value, `a whole number from ${low} to ${high}`);
  return value;
}

/** @throws StowageError model_invalid */
export function checkReal(key: string, value: number, low: number, high: number): number {
  require(Number.isFinite(value) &&
    value >= low &&
    value <= high, key, value, `a number from ${low} to ${high}`);
  return value;
}

/** @throws StowageError model_invalid unless `condition` holds */
export function require(condition: boolean, field: string, value: string | number, limit: string): void {
  if (!condition) throw new StowageError("model_invalid", { field, value, limit });
}
