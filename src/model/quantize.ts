import { StowageError } from "../errors.ts";
import { dequantizeRows, isFloatType, quantizeRows } from "../ggml/quantize.ts";
import { rowBytes } from "../ggml/types.ts";
import { type GgufFile, type GgufTensor, openGguf } from "../gguf/read.ts";
import { type ByteSource, openFileSource } from "../gguf/source.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { type TensorToWrite, writeGguf } from "../gguf/write.ts";
import { type Importance, importanceOf } from "./importance.ts";
import { recipes } from "./quantize-recipes.ts";
import { planTypes, type QuantizeTypes } from "./quantize-types.ts";

export interface QuantizeOptions extends QuantizeTypes {
  /** How much each column of the matrices matters; default: equally much. */
  readonly importance?: Importance | undefined;
  /** Where `importance` was read, for the new file's metadata. */
  readonly importancePath?: string | undefined;
  /** Chunks that are worked on at once. */
  readonly threads: number;
  /** Told after each chunk: bytes of the source done, and in all. */
  readonly progress?: (done: number, total: number) => void;
  /** Aborting it ends the work; nothing is left behind. */
  readonly signal?: AbortSignal;
}

/** Values that one thread converts at a time, about. */
const chunkElements = 1 << 18;
/** What llama.cpp writes into files that it quantises. */
const quantizationVersion = 2;

/**
 * Writes the model at `input` with its matrices in other types: the bytes are those of llama.cpp's own quantiser. Any
 * float or quantised source will do; from less than F16, the errors of both types add up. A tensor that has its type
 * already is copied. Several shards become one file. Holds a few chunks in memory at a time; the file appears whole,
 * and may take the place of its source.
 * @throws StowageError quantize_*, imatrix_shape, and the errors of `openGguf` and `writeGguf`; the signal's reason
 */
export async function quantizeModel(input: string, output: string, options: QuantizeOptions): Promise<void> {
  const { overrides = [], importance, signal } = options;
  for (const [, type] of overrides) if (!isFloatType(type)) throw new StowageError("quantize_type", { type });
  const file = await openGguf(input);
  const types = planTypes(file, options, importance && new Set(importance.entries.keys()));
  const tensors = [...file.tensors.values()].map((from): Conversion => {
    const type = types.get(from.name)!;
    const columns = importance && type !== from.type ? importanceOf(importance, from) : undefined;
    return { name: from.name, type, shape: from.shape, from, columns };
  });
  const total = tensors.reduce((sum, { from }) => sum + from.bytes, 0);
  let done = 0;
  const report = (bytes: number) => {
    signal?.throwIfAborted();
    done += bytes;
    options.progress?.(done, total);
  };
  const sources: ByteSource[] = [];
  try {
    for (const { path } of file.shards) sources.push(await openFileSource(path));
    await writeGguf(output, {
      metadata: metadataOf(file, options),
      tensors,
      data: (tensor) => convert(tensor, sources[tensor.from.shard]!, options.threads, report),
    });
  } finally {
    for (const source of sources) await source.close();
  }
}

interface Conversion extends TensorToWrite {
  readonly from: GgufTensor;
  /** How much the columns of each matrix matter, [columns · matrices]. */
  readonly columns: Float32Array | undefined;
}

function metadataOf(file: GgufFile, options: QuantizeOptions): Map<string, GgufValue> {
  const metadata = new Map(file.metadata);
  for (const key of ["split.no", "split.count", "split.tensors.count"]) metadata.delete(key);
  metadata.set("general.file_type", gguf.u32(recipes[options.recipe].fileType));
  metadata.set("general.quantization_version", gguf.u32(quantizationVersion));
  const { importance, importancePath } = options;
  if (!importance) return metadata;
  const [dataset] = importance.datasets;
  if (importancePath !== undefined) metadata.set("quantize.imatrix.file", gguf.string(importancePath));
  if (dataset !== undefined) metadata.set("quantize.imatrix.dataset", gguf.string(dataset));
  metadata.set("quantize.imatrix.entries_count", gguf.u32(importance.entries.size));
  if (importance.chunks > 0) metadata.set("quantize.imatrix.chunks_count", gguf.u32(importance.chunks));
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
  // Each matrix has columns of its own that matter.
  const matrixRows = tensor.columns ? from.shape[1]! : rows;
  const chunkRows = Math.max(1, Math.floor(chunkElements / rowElements));
  const running: Promise<Uint8Array>[] = [];
  const convertOldest = async () => {
    const chunk = await running.shift()!;
    report(rowBytes(from.type, (chunk.length / rowBytes(tensor.type, rowElements)) * rowElements));
    return chunk;
  };
  try {
    for (let first = 0; first < rows; first += matrixRows) {
      for (let row = 0; row < matrixRows; row += chunkRows) {
        running.push(convertRows(tensor, source, first + row, Math.min(chunkRows, matrixRows - row)));
        if (running.length > threads) yield await convertOldest();
      }
    }
    while (running.length > 0) yield await convertOldest();
  } finally {
    // After a failure the others still read and write their memory.
    await Promise.allSettled(running);
  }
}

async function convertRows(tensor: Conversion, source: ByteSource, row: number, rows: number) {
  const { from, type, columns } = tensor;
  const rowElements = from.shape[0]!;
  const read = new Uint8Array(rowBytes(from.type, rows * rowElements));
  await source.read(read, from.offset + row * rowBytes(from.type, rowElements));
  if (from.type === type) return read;
  const values = new Float32Array(rows * rowElements);
  await dequantizeRows(from.type, read, values);
  checkFinite(values, from, source.path, row * rowElements);
  const result = new Uint8Array(rowBytes(type, values.length));
  const matrix = Math.floor(row / from.shape[1]!);
  const importance = columns?.subarray(matrix * rowElements, (matrix + 1) * rowElements);
  const finite = await quantizeRows(type, values, rowElements, result, importance);
  if (!finite) throw new StowageError("quantize_overflow", { name: from.name, path: source.path, type });
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
