import { StowageError } from "../errors.ts";
import type { GgufTensor } from "./extents.ts";
import { fault, quoted } from "./fault.ts";
import { maxTensors } from "./limits.ts";
import type { Metadata } from "./metadata.ts";
import { readShard, type Shard } from "./shard.ts";
import { type ByteSource, openFileSource } from "./source.ts";
import { checkShard, type Split, shardPath, splitOf } from "./splits.ts";

export type { GgufTensor } from "./extents.ts";

/** A model in one GGUF file or in several shards. Holds no open file. */
export interface GgufFile {
  /** The path that was given. */
  readonly path: string;
  /** GGUF version of the first shard: 2 or 3. */
  readonly version: number;
  /** Metadata of the first shard. */
  readonly metadata: Metadata;
  /** Tensors of all shards by name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** The files, with their size and where their tensor data begins, in bytes. */
  readonly shards: readonly { path: string; bytes: number; dataOffset: number }[];
}

/** Opens the file at `path`. */
export type OpenSource = (path: string) => Promise<ByteSource>;

/**
 * Reads and checks a GGUF model, its further shards too when `path` is the first of several. Reads no tensor data.
 *
 * A value that is not valid UTF-8 is shown with U+FFFD; a key or tensor name that is not is an error.
 *
 * @throws `gguf_unreadable` when a file cannot be opened; any other `gguf_*` error of the catalogue, naming the
 *   field, its value and the limit, when a file is not a good GGUF file.
 */
export async function openGguf(path: string): Promise<GgufFile> {
  return readGguf(path, openFileSource);
}

/** As `openGguf`, with the files opened by `open`. */
export async function readGguf(path: string, open: OpenSource): Promise<GgufFile> {
  const first = await readWith(path, open, 0);
  const split = splitOf(first);
  const tensors = new Map<string, GgufTensor>();
  const shards: GgufFile["shards"][number][] = [];
  addShard(first, tensors, shards, split);
  for (let index = 1; index < (split?.count ?? 1); index++) {
    const shard = await readNext(first.path, index, split!, open);
    addShard(shard, tensors, shards, split);
  }
  checkTotal(path, tensors.size, split);
  return { path, version: first.version, metadata: first.metadata, tensors, shards };
}

async function readWith(path: string, open: OpenSource, index: number): Promise<Shard> {
  const source = await open(path);
  try {
    return await readShard(source, index);
  } finally {
    await source.close();
  }
}

async function readNext(first: string, index: number, split: Split, open: OpenSource): Promise<Shard> {
  const path = shardPath(first, index, split.count);
  try {
    const shard = await readWith(path, open, index);
    checkShard(shard, index, split);
    return shard;
  } catch (error) {
    if (!(error instanceof StowageError) || error.code !== "gguf_unreadable") throw error;
    const value = `not readable (${error.details.reason})`;
    throw fault("gguf_split", first, `shard ${path}`, value, `all ${split.count} shards are needed`);
  }
}

function addShard(
  shard: Shard,
  tensors: Map<string, GgufTensor>,
  shards: GgufFile["shards"][number][],
  split: Split | undefined,
): void {
  const most = Math.min(split?.tensors ?? maxTensors, maxTensors);
  if (tensors.size + shard.tensors.length > most) {
    const value = tensors.size + shard.tensors.length;
    throw fault(
      "gguf_split",
      shard.path,
      "number of tensors up to this shard",
      value,
      `at most ${most} in all`,
    );
  }
  for (const tensor of shard.tensors) {
    const other = tensors.get(tensor.name);
    if (other !== undefined) {
      const limit = `shard ${other.shard} has a tensor of that name too`;
      throw fault("gguf_split", shard.path, "tensor name", quoted(tensor.name), limit);
    }
    tensors.set(tensor.name, tensor);
  }
  shards.push({ path: shard.path, bytes: shard.bytes, dataOffset: shard.dataOffset });
}

function checkTotal(path: string, total: number, split: Split | undefined): void {
  if (split !== undefined && total !== split.tensors) {
    throw fault(
      "gguf_split",
      path,
      '"split.tensors.count"',
      split.tensors,
      `the shards have ${total} tensors`,
    );
  }
  if (total === 0) throw fault("gguf_count", path, "tensor count", 0, "a model has at least 1 tensor");
}
