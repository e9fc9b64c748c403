import type { TensorType } from "../ggml/types.ts";
import { fault, quoted } from "./fault.ts";
import type { TensorInfo } from "./tensors.ts";

/** A tensor of a model file: where its data is. */
export interface GgufTensor {
  readonly name: string;
  readonly type: TensorType;
  /** Elements by dimension in ggml order (`ne[0]`, the row, first), without trailing ones, at least one. */
  readonly shape: readonly number[];
  /** Size of the data in bytes. */
  readonly bytes: number;
  /** Index of the shard file. */
  readonly shard: number;
  /** Byte in the shard file at which the data begins. */
  readonly offset: number;
}

/** What the extents of a shard's tensors are held against; all in bytes. */
export interface DataSection {
  readonly path: string;
  readonly fileBytes: number;
  readonly dataOffset: number;
  readonly alignment: number;
}

/**
 * Places the tensors of shard number `shard` in their file.
 *
 * @throws `gguf_alignment` for an offset off the alignment; `gguf_extent` for data past the end of the file or
 *   over another tensor's data.
 */
export function placeTensors(
  infos: readonly TensorInfo[],
  section: DataSection,
  shard: number,
): GgufTensor[] {
  const tensors = infos.map((info) => placeTensor(info, section, shard));
  checkOverlaps(tensors, section.path);
  return tensors;
}

function placeTensor(info: TensorInfo, section: DataSection, shard: number): GgufTensor {
  const { name, type, shape, bytes, offset } = info;
  const field = `tensor ${quoted(name)}`;
  if (offset % BigInt(section.alignment) !== 0n) {
    const limit = `offsets are multiples of ${section.alignment}`;
    throw fault("gguf_alignment", section.path, `offset of ${field}`, offset, limit);
  }
  const start = BigInt(section.dataOffset) + offset;
  if (start > section.fileBytes) {
    const limit = `the data begins at byte ${section.dataOffset} and the file ends at ${section.fileBytes}`;
    throw fault("gguf_extent", section.path, `offset of ${field}`, offset, limit);
  }
  if (start + bytes > section.fileBytes) {
    const limit = `the file ends at ${section.fileBytes}`;
    throw fault(
      "gguf_extent",
      section.path,
      `extent of ${field}`,
      `bytes ${start} to ${start + bytes}`,
      limit,
    );
  }
  return { name, type, shape, bytes: Number(bytes), shard, offset: Number(start) };
}

function checkOverlaps(tensors: readonly GgufTensor[], path: string): void {
  const byOffset = tensors.toSorted((a, b) => a.offset - b.offset);
  for (let i = 1; i < byOffset.length; i++) {
    const before = byOffset[i - 1]!;
    const tensor = byOffset[i]!;
    const end = before.offset + before.bytes;
    if (end > tensor.offset) {
      const value = `bytes ${tensor.offset} to ${tensor.offset + tensor.bytes}`;
      const limit = `tensor ${quoted(before.name)} takes bytes ${before.offset} to ${end}`;
      throw fault("gguf_extent", path, `extent of tensor ${quoted(tensor.name)}`, value, limit);
    }
  }
}
