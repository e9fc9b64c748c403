import { fault } from "./fault.ts";
import type { Shard } from "./shard.ts";

/** What the first shard says of its split. */
export interface Split {
  /** Number of shard files. */
  readonly count: number;
  /** Tensors in all shards. */
  readonly tensors: number;
}

/** Shard numbers in file names have five digits. */
const maxShards = 99_999;

const shardName = /^(?<stem>.*)-(?<number>\d{5})-of-(?<count>\d{5})\.gguf$/s;

/**
 * The split that `first` is the first shard of; `undefined` when it is a whole model.
 *
 * @throws `gguf_split` when it is another shard than the first, or when its name or its metadata disagree.
 */
export function splitOf(first: Shard): Split | undefined {
  if (!first.metadata.has("split.count")) return undefined;
  const count = whole(first, "split.count", maxShards);
  if (count <= 1) return undefined;
  const tensors = whole(first, "split.tensors.count", Number.MAX_SAFE_INTEGER);
  const number = whole(first, "split.no", maxShards);
  if (number !== 0)
    throw fault("gguf_split", first.path, '"split.no"', number, "give the first shard, number 0");
  const name = shardName.exec(first.path)?.groups;
  if (Number(name?.number) !== 1 || Number(name?.count) !== count) {
    const limit = `with "split.count" ${count} it must end in ${suffix(0, count)}`;
    throw fault("gguf_split", first.path, "file name", first.path, limit);
  }
  return { count, tensors };
}

/** The path of shard number `index` (from 0), beside the first one. */
export function shardPath(first: string, index: number, count: number): string {
  const stem = shardName.exec(first)!.groups!.stem!;
  return `${stem}${suffix(index, count)}`;
}

function suffix(index: number, count: number): string {
  const digits = (number: number) => String(number).padStart(5, "0");
  return `-${digits(index + 1)}-of-${digits(count)}.gguf`;
}

/**
 * Checks that `shard` is number `index` of `split`.
 *
 * @throws `gguf_split`
 */
export function checkShard(shard: Shard, index: number, split: Split): void {
  const count = whole(shard, "split.count", maxShards);
  if (count !== split.count) {
    throw fault("gguf_split", shard.path, '"split.count"', count, `the first shard says ${split.count}`);
  }
  const number = whole(shard, "split.no", maxShards);
  if (number !== index) {
    throw fault("gguf_split", shard.path, '"split.no"', number, `this file's place is number ${index}`);
  }
}

function whole(shard: Shard, key: string, most: number): number {
  const value = shard.metadata.has(key) ? shard.metadata.number(key) : "missing";
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw fault("gguf_split", shard.path, `"${key}"`, value, `a whole number from 0 to ${most} is needed`);
}
