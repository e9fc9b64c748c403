import { readFile } from "node:fs/promises";
import { StowageError } from "../errors.ts";
import { reasonOf } from "../gguf/fault.ts";
import { type GgufFile, type GgufTensor, openGguf } from "../gguf/read.ts";
import { openFileSource } from "../gguf/source.ts";
import { gguf } from "../gguf/values.ts";
import { type TensorToWrite, writeGguf } from "../gguf/write.ts";
import type { Importance, ImportanceEntry } from "./importance.ts";

const sumsSuffix = ".in_sum2";
const countsSuffix = ".counts";

/** Writes an importance matrix as llama.cpp's tools do: a GGUF file with two tensors for each entry. */
export async function writeImatrix(path: string, importance: Importance): Promise<void> {
  const { entries, datasets, chunks, chunkTokens } = importance;
  const tensors = [...entries]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, entry]) => tensorsOf(name, entry));
  await writeGguf(path, {
    metadata: [
      ["general.type", gguf.string("imatrix")],
      ["imatrix.datasets", gguf.strings(datasets)],
      ["imatrix.chunk_count", gguf.u32(chunks)],
      ["imatrix.chunk_size", gguf.u32(chunkTokens)],
    ],
    tensors,
    data: ({ values }) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
}

function tensorsOf(
  name: string,
  { sums, counts }: ImportanceEntry,
): (TensorToWrite & { values: Float32Array })[] {
  const matrices = counts.length;
  return [
    { name: `${name}${sumsSuffix}`, type: "F32", shape: [sums.length / matrices, matrices], values: sums },
    { name: `${name}${countsSuffix}`, type: "F32", shape: [1, matrices], values: counts },
  ];
}

/**
 * Reads an importance matrix: llama.cpp's GGUF format, or its older binary one.
 * @throws StowageError imatrix_invalid, and gguf_* for a file that begins as a GGUF file does
 */
export async function readImatrix(path: string): Promise<Importance> {
  const bytes = await readFile(path).catch((error) => {
    throw new StowageError("gguf_unreadable", { path, reason: reasonOf(error) }, { cause: error });
  });
  const importance =
    bytes.subarray(0, 4).toString("latin1") === "GGUF"
      ? await readGgufImatrix(path)
      : readLegacy(bytes, path);
  for (const [name, { sums, counts }] of importance.entries) {
    const bad =
      sums.find((value) => !Number.isFinite(value) || value < 0) ?? counts.find((count) => !(count >= 0));
    if (bad !== undefined) throw invalid(path, `${name} holds ${bad}, which is no sum of squares`);
  }
  return importance;
}

async function readGgufImatrix(path: string): Promise<Importance> {
  const file = await openGguf(path);
  const entries = new Map<string, ImportanceEntry>();
  for (const tensor of file.tensors.values()) {
    if (!tensor.name.endsWith(sumsSuffix)) continue;
    const name = tensor.name.slice(0, -sumsSuffix.length);
    const counts = file.tensors.get(`${name}${countsSuffix}`);
    if (!counts) throw invalid(path, `there are sums of ${name} but no counts`);
    const entry = { sums: await floats(file, tensor), counts: await floats(file, counts) };
    const rows = tensor.shape.slice(1).reduce((product, extent) => product * extent, 1);
    if (entry.counts.length !== rows)
      throw invalid(path, `${name} has ${rows} sums and ${entry.counts.length} counts`);
    entries.set(name, entry);
  }
  if (entries.size === 0) throw invalid(path, "none of its tensors ends with .in_sum2");
  const { metadata } = file;
  return {
    entries,
    datasets: metadata.has("imatrix.datasets") ? metadata.strings("imatrix.datasets") : [],
    chunks: metadata.number("imatrix.chunk_count", 0),
    chunkTokens: metadata.number("imatrix.chunk_size", 0),
  };
}

async function floats({ path, shards }: GgufFile, { name, type, bytes, offset, shard }: GgufTensor) {
  if (type !== "F32") throw invalid(path, `${name} is of type ${type} instead of F32`);
  const source = await openFileSource(shards[shard]!.path);
  try {
    const values = new Float32Array(bytes / Float32Array.BYTES_PER_ELEMENT);
    await source.read(new Uint8Array(values.buffer), offset);
    return values;
  } finally {
    await source.close();
  }
}

/**
 * The older format, little-endian: how many entries; of each the length of its name, the name, how many chunks were
 * seen, how many values, and the values as F32, sums over the chunks of mean squares; then the chunks, and the length and
 * the name of the text.
 */
function readLegacy(bytes: Buffer, path: string): Importance {
  let position = 0;
  const take = (count: number) => {
    if (!(count >= 0 && position + count <= bytes.length))
      throw invalid(path, `it ends at byte ${bytes.length}`);
    position += count;
    return bytes.subarray(position - count, position);
  };
  const int = () => take(4).readInt32LE();
  const text = () => take(int()).toString("utf8");
  const count = int();
  if (count < 1) throw invalid(path, `it begins neither as a GGUF file nor with a number of entries`);
  const entries = new Map<string, ImportanceEntry>();
  for (let index = 0; index < count; index++) {
    const name = text();
    const chunks = int();
    const values = int();
    if (values < 1) throw invalid(path, `entry ${index} has ${values} values`);
    const data = take(values * Float32Array.BYTES_PER_ELEMENT);
    const sums = Float32Array.from({ length: values }, (_, column) => data.readFloatLE(4 * column));
    entries.set(name, { sums, counts: Float32Array.of(Math.max(chunks, 1)) });
  }
  const more = position < bytes.length;
  return {
    entries,
    chunks: more ? int() : 0,
    datasets: position < bytes.length ? [text()] : [],
    chunkTokens: 0,
  };
}

function invalid(path: string, reason: string): StowageError {
  return new StowageError("imatrix_invalid", { path, reason });
}
