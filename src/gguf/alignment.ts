import { fault, quoted } from "./fault.ts";
import { maxAlignment, minAlignment } from "./limits.ts";
import { describeType, type GgufValue } from "./values.ts";

/** Where a file says nothing, tensor data is aligned to this many bytes. */
export const defaultAlignment = 32;

export const alignmentKey = "general.alignment";

/**
 * The alignment of the tensor data in bytes, out of the value of `general.alignment`.
 *
 * @throws `gguf_alignment` unless it is a u32, a power of two, from 8 to 1 MiB.
 */
export function alignmentOf(value: GgufValue | undefined, path: string): number {
  if (value === undefined) return defaultAlignment;
  const field = quoted(alignmentKey);
  if (value.type !== "u32") {
    throw fault("gguf_alignment", path, `type of ${field}`, describeType(value), "it must be u32");
  }
  const alignment = value.value;
  const isPower = (alignment & (alignment - 1)) === 0;
  if (!isPower || alignment < minAlignment || alignment > maxAlignment) {
    const limit = `a power of two from ${minAlignment} to ${maxAlignment} is allowed`;
    throw fault("gguf_alignment", path, field, alignment, limit);
  }
  return alignment;
}

/** The least multiple of `alignment` that is at least `position`. */
export function alignUp(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment;
}
