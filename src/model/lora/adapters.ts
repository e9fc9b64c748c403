import { StowageError } from "../../errors.ts";
import type { Backend } from "../../ggml/backend.ts";
import { Buffer } from "../../ggml/buffer.ts";
import { Context } from "../../ggml/context.ts";
import { MappedFile } from "../../ggml/memory.ts";
import type { Tensor } from "../../ggml/tensor.ts";
import { type AdapterFile, matrix, readAdapter } from "./adapter-file.ts";

/** An adapter by name. */
export interface AdapterChoice {
  readonly name: string;
  /** Times the adapter's own scale. Default: what it was loaded with, else 1. */
  readonly scale?: number;
}

/** An adapter that is to be loaded. */
export interface AdapterOption extends AdapterChoice {
  /** Its file in GGUF format. */
  readonly path: string;
}

/** The factors of one weight in memory; see `AdapterPair`. */
export interface AdapterWeight {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

/** An adapter in memory. */
export interface Adapter {
  readonly name: string;
  /** With which it is used where a request says nothing else. */
  readonly scale: number;
  /** By the name of the weight. */
  readonly weights: ReadonlyMap<string, AdapterWeight>;
  /** The most pairs that it has in one layer. */
  readonly mostPairs: number;
}

/** The adapters that a sequence computes with, in the order in which they were loaded. */
export interface AdapterSet {
  /** Equal for equal sets: graphs and stored prefixes are told apart by it. */
  readonly key: string;
  readonly uses: readonly { readonly adapter: Adapter; readonly scale: number }[];
}

/** The most adapters that a sequence may have at once. */
const mostAtOnce = 16;

/** An adapter that was read and checked. */
export interface NamedAdapterFile extends AdapterFile {
  readonly name: string;
  /** With which it is used where a request says nothing else. */
  readonly scale: number;
}

const longestName = 200;

/**
 * Reads and checks the files of adapters, their names and scales.
 * @throws StowageError lora_name, lora_scale, and those of {@link readAdapter}
 */
export async function readAdapters(
  options: readonly AdapterOption[],
  base: Parameters<typeof readAdapter>[1],
): Promise<NamedAdapterFile[]> {
  const names = new Set<string>();
  for (const { name, scale = 1 } of options) {
    const bad = name.trim() === "" || name.length > longestName || /[\p{C}:,=]/u.test(name);
    if (bad || names.has(name)) {
      const reason = bad
        ? `it has to be 1 to ${longestName} characters without ":", "," and "="`
        : "another adapter has it";
      throw new StowageError("lora_name", { name: JSON.stringify(name.slice(0, longestName)), reason });
    }
    if (!Number.isFinite(scale)) throw new StowageError("lora_scale", { name, scale });
    names.add(name);
  }
  const read = async ({ name, path, scale = 1 }: AdapterOption) => ({
    name,
    scale,
    ...(await readAdapter(path, base)),
  });
  return Promise.all(options.map(read));
}

/** The adapters of a model, used in place in their mapped files. One owner; given back by `dispose`. */
export class Adapters {
  readonly #adapters = new Map<string, Adapter>();
  readonly #owned: { dispose(): void }[] = [];

  /** @throws StowageError native_call_failed when a file cannot be mapped */
  constructor(backend: Backend, files: readonly NamedAdapterFile[]) {
    try {
      for (const file of files) {
        const { name, scale } = file;
        this.#adapters.set(name, {
          name,
          scale,
          weights: this.#map(backend, file),
          mostPairs: mostPairsOf(file),
        });
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** The most pairs that all of them together have in one layer. */
  get mostPairs(): number {
    return [...this].reduce((sum, { mostPairs }) => sum + mostPairs, 0);
  }

  [Symbol.iterator](): Iterator<Adapter> {
    return this.#adapters.values();
  }

  dispose(): void {
    for (const resource of this.#owned.splice(0).reverse()) resource.dispose();
  }

  #map(backend: Backend, { file, pairs }: AdapterFile): Map<string, AdapterWeight> {
    const own = <T extends { dispose(): void }>(resource: T): T => {
      this.#owned.push(resource);
      return resource;
    };
    const maps = file.shards.map(({ path }) => own(new MappedFile(path)));
    const buffers = maps.map((map) => own(Buffer.over(backend.native, map.address, map.byteLength)));
    const context = own(new Context(backend.native, { tensors: 2 * pairs.length }));
    const tensorOf = (part: AdapterFile["pairs"][number]["a"]) => {
      const tensor = context.tensor(part.type, matrix(part), part.name);
      buffers[part.shard]!.placeAt(tensor, part.offset);
      return tensor;
    };
    return new Map(
      pairs.map(({ weight, a, b, scale }) => [weight, { a: tensorOf(a), b: tensorOf(b), scale }]),
    );
  }
}

function mostPairsOf({ pairs }: AdapterFile): number {
  const counts = new Map<string, number>();
  for (const { weight } of pairs) {
    const layer = /^blk\.\d+\./.exec(weight)?.[0] ?? "";
    counts.set(layer, (counts.get(layer) ?? 0) + 1);
  }
  return Math.max(...counts.values());
}

/**
 * What a sequence computes with, in the order in which adapters were loaded; undefined for the base model alone. An
 * adapter at scale 0 counts as none.
 * @throws StowageError lora_unknown, lora_scale, lora_twice
 */
export function chooseAdapters(
  adapters: Adapters | undefined,
  choices: readonly AdapterChoice[],
): AdapterSet | undefined {
  const loaded = [...(adapters ?? [])];
  for (const { name, scale } of choices) {
    if (!loaded.some((adapter) => adapter.name === name)) {
      throw new StowageError("lora_unknown", {
        name: JSON.stringify(name.slice(0, longestName)),
        loaded: loaded.map((adapter) => adapter.name).join(", ") || "none",
        field: "lora",
      });
    }
    if (scale !== undefined && !Number.isFinite(scale)) throw new StowageError("lora_scale", { name, scale });
  }
  if (new Set(choices.map(({ name }) => name)).size < choices.length || choices.length > mostAtOnce) {
    throw new StowageError("lora_twice", { count: choices.length, limit: mostAtOnce, field: "lora" });
  }
  const uses = loaded.flatMap((adapter) => {
    const choice = choices.find(({ name }) => name === adapter.name);
    const scale = choice?.scale ?? adapter.scale;
    return choice && scale !== 0 ? [{ adapter, scale }] : [];
  });
  if (uses.length === 0) return undefined;
  return { key: JSON.stringify(uses.map(({ adapter, scale }) => [adapter.name, scale])), uses };
}
