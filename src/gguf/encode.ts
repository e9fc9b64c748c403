import { type TensorType, tensorTypes } from "../ggml/types.ts";
import { alignmentKey, alignmentOf, alignUp, defaultAlignment } from "./alignment.ts";
import { fault, quoted } from "./fault.ts";
import { HeaderWriter } from "./header-writer.ts";
import { checkDimensionCount, tensorBytes } from "./tensors.ts";
import { arrayTypeId, type GgufValue, scalarTypes } from "./values.ts";

/** A tensor to be written: its name, type and shape (elements by dimension, the row first). */
export interface TensorToWrite {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
}

/** A header ready to be written, and where the data goes; all in bytes. */
export interface Header {
  /** Up to the start of the tensor data, padding included. */
  readonly bytes: Buffer;
  readonly alignment: number;
  /** Size of the whole file; a multiple of the alignment after the header. */
  readonly fileBytes: number;
}

const version = 3;

/**
 * Encodes the header of a GGUF file of version 3. What it does not check here, reading the header does.
 *
 * @throws `gguf_write_value` for a value that its type cannot hold; `gguf_alignment`, `gguf_tensor_shape`.
 */
export function encodeHeader(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly TensorToWrite[],
): Header {
  const alignment = alignmentOf(metadata.get(alignmentKey), path);
  const out = new HeaderWriter(path);
  out.ascii("GGUF");
  out.u32(version);
  out.u64(tensors.length);
  out.u64(metadata.size);
  for (const [key, value] of metadata) {
    out.string(key, `key ${quoted(key)}`);
    writeValue(out, value, quoted(key));
  }
  let dataBytes = 0;
  for (const tensor of tensors) {
    writeTensorInfo(out, tensor, dataBytes);
    dataBytes = alignUp(dataBytes + sizeOf(path, tensor), alignment);
  }
  const bytes = out.padded(alignment);
  return { bytes, alignment, fileBytes: bytes.length + dataBytes };
}

/**
 * The metadata to write, with `general.alignment` in it when it is asked for.
 *
 * @throws `gguf_duplicate` for a key that comes twice; `gguf_alignment` when the metadata holds another alignment.
 */
export function withAlignment(
  path: string,
  entries: Iterable<readonly [string, GgufValue]>,
  alignment: number | undefined,
): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (const [key, value] of entries) {
    if (metadata.has(key))
      throw fault("gguf_duplicate", path, "metadata key", quoted(key), "a key may come once");
    metadata.set(key, value);
  }
  const present = metadata.has(alignmentKey) ? alignmentOf(metadata.get(alignmentKey), path) : undefined;
  if (present !== undefined && alignment !== undefined && present !== alignment) {
    const limit = `the metadata holds ${present}: give one of the two`;
    throw fault("gguf_alignment", path, "the alignment asked for", alignment, limit);
  }
  if (present === undefined && alignment !== undefined && alignment !== defaultAlignment) {
    metadata.set(alignmentKey, { type: "u32", value: alignment });
  }
  return metadata;
}

function sizeOf(path: string, { name, type, shape }: TensorToWrite): number {
  return Number(tensorBytes(path, name, type, shape.map(BigInt)));
}

function writeTensorInfo(out: HeaderWriter, { name, type, shape }: TensorToWrite, offset: number): void {
  const field = `tensor ${quoted(name)}`;
  checkDimensionCount(out.path, field, shape.length);
  const wrong = shape.find((dimension) => !Number.isSafeInteger(dimension) || dimension < 1);
  if (wrong !== undefined) {
    throw fault(
      "gguf_tensor_shape",
      out.path,
      `dimension of ${field}`,
      wrong,
      "a whole number of at least 1 is needed",
    );
  }
  out.string(name, `name of ${field}`);
  out.u32(shape.length);
  for (const dimension of shape) out.u64(dimension);
  out.u32(tensorTypes[type].id);
  out.u64(offset);
}

function writeValue(out: HeaderWriter, value: GgufValue, field: string): void {
  if (value.type !== "array") {
    out.u32(scalarTypes[value.type].id);
    out.scalar(value.type, value.value, field);
    return;
  }
  const elements: readonly (number | bigint | boolean | string)[] = value.value;
  out.u32(arrayTypeId);
  out.u32(scalarTypes[value.of].id);
  out.u64(elements.length);
  for (const element of elements) out.scalar(value.of, element, field);
}
