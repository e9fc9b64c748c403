import { type TensorType, tensorTypeOf, tensorTypes } from "../ggml/types.ts";
import { fault, quoted } from "./fault.ts";
import type { HeaderReader } from "./header-reader.ts";
import { maxDimensions, maxTensorNameBytes } from "./limits.ts";

/** What a header says of one tensor, checked in itself but not yet against the file's size. */
export interface TensorInfo {
  readonly name: string;
  readonly type: TensorType;
  /** Elements by dimension in ggml order, without trailing ones, at least one dimension. */
  readonly shape: readonly number[];
  /** Size of the data. */
  readonly bytes: bigint;
  /** From the start of the tensor data. */
  readonly offset: bigint;
}

/** Types of older files that ggml no longer reads, by their number. */
const removedTypes: Readonly<Record<number, string>> = {
  4: "Q4_2",
  5: "Q4_3",
  31: "Q4_0_4_4",
  32: "Q4_0_4_8",
  33: "Q4_0_8_8",
  36: "IQ4_NL_4_4",
  37: "IQ4_NL_4_8",
  38: "IQ4_NL_8_8",
};

/**
 * Reads the description of tensor number `index`.
 *
 * @throws `gguf_string`, `gguf_tensor_shape`, `gguf_tensor_type`, `gguf_truncated`
 */
export function readTensorInfo(reader: HeaderReader, index: number): TensorInfo {
  const name = reader.identifier(`name of tensor ${index}`, maxTensorNameBytes);
  const field = `tensor ${quoted(name)}`;
  const dimensions = readDimensions(reader, field);
  const type = readType(reader.u32(`type of ${field}`), reader.path, field);
  const offset = reader.u64(`offset of ${field}`);
  const bytes = tensorBytes(reader.path, name, type, dimensions);
  return { name, type, shape: withoutTrailingOnes(dimensions.map(Number)), bytes, offset };
}

function readDimensions(reader: HeaderReader, field: string): bigint[] {
  const count = reader.u32(`number of dimensions of ${field}`);
  checkDimensionCount(reader.path, field, count);
  const dimensions: bigint[] = [];
  for (let i = 0; i < count; i++) dimensions.push(reader.i64(`dimension ${i} of ${field}`));
  return dimensions;
}

/** @throws `gguf_tensor_shape` unless a tensor may have `count` dimensions. */
export function checkDimensionCount(path: string, field: string, count: number): void {
  if (count >= 1 && count <= maxDimensions) return;
  const limit = `1 to ${maxDimensions} are allowed`;
  throw fault("gguf_tensor_shape", path, `number of dimensions of ${field}`, count, limit);
}

function readType(id: number, path: string, field: string): TensorType {
  const type = tensorTypeOf(id);
  if (type !== undefined) return type;
  const removed = removedTypes[id];
  const value = removed === undefined ? id : `${id} (${removed})`;
  const limit =
    removed === undefined ? "this release does not know that type" : "ggml no longer has that type";
  throw fault("gguf_tensor_type", path, `type of ${field}`, value, limit);
}

/**
 * The size in bytes of a tensor's data, computed without overflow.
 *
 * @throws `gguf_tensor_shape` for a dimension below 1, more than 2^53 elements, or rows that are no whole blocks.
 */
export function tensorBytes(
  path: string,
  name: string,
  type: TensorType,
  dimensions: readonly bigint[],
): bigint {
  const { block, bytes } = tensorTypes[type];
  let elements = 1n;
  for (const [i, dimension] of dimensions.entries()) {
    if (dimension < 1n) {
      throw fault(
        "gguf_tensor_shape",
        path,
        `dimension ${i} of tensor ${quoted(name)}`,
        dimension,
        "at least 1",
      );
    }
    elements *= dimension;
  }
  const limit = shapeLimit(elements, dimensions[0]!, type);
  if (limit !== undefined) {
    throw fault(
      "gguf_tensor_shape",
      path,
      `shape of tensor ${quoted(name)}`,
      `[${dimensions.join(", ")}]`,
      limit,
    );
  }
  return (elements / BigInt(block)) * BigInt(bytes);
}

/** The limit that a tensor of this many elements, with rows of `row`, breaks. */
function shapeLimit(elements: bigint, row: bigint, type: TensorType): string | undefined {
  const { block } = tensorTypes[type];
  if (elements > Number.MAX_SAFE_INTEGER) return `at most ${Number.MAX_SAFE_INTEGER} elements are supported`;
  if (row % BigInt(block) !== 0n) return `rows of ${type} are multiples of ${block} elements`;
  return undefined;
}

function withoutTrailingOnes(shape: number[]): number[] {
  const last = shape.findLastIndex((dimension) => dimension !== 1);
  return shape.slice(0, Math.max(last, 0) + 1);
}
