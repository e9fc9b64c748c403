import { StowageError } from "../errors.ts";
import { canQuantize, dequantizeRows, quantizeRows } from "../ggml/quantize.ts";
import { rowBytes, type TensorType } from "../ggml/types.ts";
import { type GgufFile, type GgufTensor, openGguf } from "../gguf/read.ts";
import { type ByteSource, openFileSource } from "../gguf/source.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { type TensorToWrite, writeGguf } from "../gguf/write.ts";
import { fileTypes } from "./file-type.ts";
import { type QuantizeTypes, targetType } from "./quantize-types.ts";

export interface QuantizeOptions extends QuantizeTypes {
  /** Chunks that are worked on at once. */
  readonly threads: number;
  /** Told after each chunk: bytes of the source done, and in all. */
  readonly progress?: (done: number, total: number) => void;
}

/** Values that one thread converts at a time, about. */
const chunkElements = 1 << 18;
/** What llama.cpp writes into files that it quantises. */
const quantizationVersion = 2;

/**
 * Writes the model at `input` with its matrices in other types, by ggml's own quantiser, without statistics of
 * activations. Any float or quantised source will do; from less than F16, the errors of both types add up. A
 * tensor that has its type already is copied. Several shards become one file. Holds a few chunks in memory at a
 * time; the file appears whole, and may take the place of its source.
 * @throws StowageError quantize_type, quantize_not_finite, and the errors of `openGguf` and `writeGguf`
 */
export async function quantizeModel(input: string, output: string, options: QuantizeOptions): Promise<void> {
  for (const type of [options.type, ...(options.overrides ?? []).map(([, override]) => override)]) {
    if (!canQuantize(type)) throw new StowageError("quantize_type", { type });
  }
  const file = await openGguf(input);
  const sources: ByteSource[] = [];
  try {
    for (const { path } of file.shards) sources.push(await openFileSource(path));
    const tensors = [...file.tensors.values()].map((from) => {
      return { name: from.name, type: targetType(from, options), shape: from.shape, from };
    });
    const total = tensors.reduce((sum, { from }) => sum + from.bytes, 0);
    let done = 0;
    const report = (bytes: number) => {
      done += bytes;
      options.progress?.(done, total);
    };
    await writeGguf(output, {
      metadata: metadataOf(file, options.type),
      tensors,
      data: (tensor) => convert(tensor, sources[tensor.from.shard]!, options.threads, report),
    });
  } finally {
    for (const source of sources) await source.close();
  }
}

interface Conversion extends TensorToWrite {
  readonly from: GgufTensor;
}

function metadataOf(file: GgufFile, type: TensorType): Map<string, GgufValue> {
  const metadata = new Map(file.metadata);
  for (const key of ["split.no", "split.count", "split.tensors.count"]) metadata.delete(key);
  const fileType = fileTypes[type];
  if (fileType === undefined) metadata.delete("general.file_type");
  else metadata.set("general.file_type", gguf.u32(fileType));
  metadata.set("general.quantization_version", gguf.u32(quantizationVersion));
  return metadata;
}

/** The tensor's data in its new type, chunk by chunk in order, with `threads` chunks in the works. */
async function* convert(
  tensor: Conversion,
  source: ByteSource,
  threads: number,
  report: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  const { from } = tensor;
  const rowElements = from.shape[0]!;
  const rows = from.shape.reduce((product, extent) => product * extent, 1) / rowElements;
  const chunkRows = Math.max(1, Math.floor(chunkElements / rowElements));
  const running: Promise<Uint8Array>[] = [];
  const convertOldest = async () => {
    const chunk = await running.shift()!;
    report(rowBytes(from.type, (chunk.length / rowBytes(tensor.type, rowElements)) * rowElements));
    return chunk;
  };
  try {
    for (let row = 0; row < rows; row += chunkRows) {
      running.push(convertRows(tensor, source, row, Math.min(chunkRows, rows - row)));
      if (running.length > threads) yield await convertOldest();
    }
    while (running.length > 0) yield await convertOldest();
  } finally {
    // After a failure the others still read and write their memory.
    await Promise.allSettled(running);
  }
}

async function convertRows(tensor: Conversion, source: ByteSource, row: number, rows: number) {
  const { from, type } = tensor;
  const rowElements = from.shape[0]!;
  const read = new Uint8Array(rowBytes(from.type, rows * rowElements));
  await source.read(read, from.offset + row * rowBytes(from.type, rowElements));
  if (from.type === type) return read;
  const values = new Float32Array(rows * rowElements);
  await dequantizeRows(from.type, read, values);
  checkFinite(values, from, source.path, row * rowElements);
  const result = new Uint8Array(rowBytes(type, values.length));
  await quantizeRows(type, values, rowElements, result);
  return result;
}

/** ggml's quantisers do not look: out of one NaN they make a block of noise. */
function checkFinite(values: Float32Array, { name }: GgufTensor, path: string, first: number): void {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += values[index]! * 0;
  if (sum === 0) return;
  const index = values.findIndex((value) => !Number.isFinite(value));
  const details = { name, path, value: values[index]!, element: first + index };
  throw new StowageError("quantize_not_finite", details);
}
