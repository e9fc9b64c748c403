import type { Backend } from "../ggml/backend.ts";
import type { Pointer } from "../ggml/bindings.ts";
import { Buffer } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import { MappedFile } from "../ggml/memory.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { GgufFile, GgufTensor } from "../gguf/read.ts";
import { Conversion, type ConversionJob } from "./conversion.ts";
import type { Placed, WeightLayout } from "./layout.ts";

/** A weight in memory; when several matrices are joined, the rows that belong to this name. */
export interface Weight {
  readonly tensor: Tensor;
  readonly rows: number;
  /** First row of this weight in the tensor. */
  readonly firstRow: number;
}

/** The name under which {@link joinHeadNorms} puts its tensor. */
export const jointHeadNorm = "attn_qk_norm.weight";

/** The weights of one layer (or of the model as a whole), by name. */
export class LayerWeights {
  readonly prefix: string;
  readonly #weights: ReadonlyMap<string, Weight>;

  /** @param prefix what their names begin with in the file, as in `blk.0.`; empty outside of layers */
  constructor(weights: ReadonlyMap<string, Weight>, prefix: string) {
    this.#weights = weights;
    this.prefix = prefix;
  }

  /** The same weights and one more. */
  with(name: string, weight: Weight): LayerWeights {
    return new LayerWeights(new Map([...this.#weights, [name, weight]]), this.prefix);
  }

  find(name: string): Weight | undefined {
    return this.#weights.get(name);
  }

  weight(name: string): Weight {
    const weight = this.#weights.get(name);
    if (!weight) throw new Error(`the family uses ${name} but does not list it among its tensors`);
    return weight;
  }

  /** Whether both lie in one tensor. */
  joined(one: string, other: string): boolean {
    return this.weight(one).tensor === this.weight(other).tensor;
  }

  /** A weight that is never joined. */
  tensor(name: string): Tensor {
    return this.weight(name).tensor;
  }
}

/**
 * All weights of a model in memory, but those on a device. At first every matrix is used in place in the mapped file, so that a model
 * answers at once; {@link ModelWeights.convert} then brings layer after layer into the layout of the fast kernels.
 * Owns the mapped files and the buffers; given back by `dispose`.
 */
export class ModelWeights {
  readonly layout: WeightLayout;
  /** Counts up when a part of the weights has moved: graphs made before use the old place, which stays valid. */
  version = 0;
  readonly #owned: { dispose(): void }[] = [];
  readonly #conversion: Conversion;
  readonly #layers: LayerWeights[];
  #globals: LayerWeights;

  /** Maps the files; reads no weights. @throws StowageError native_call_failed when memory is short */
  constructor(file: GgufFile, layout: WeightLayout, backend: Backend) {
    this.layout = layout;
    try {
      const placement = new Placement(file, layout, backend, this.#owned);
      this.#globals = placement.mapped(layout.globals, "");
      const layers = layout.layers.slice(0, layout.firstDeviceLayer);
      this.#layers = layers.map((layer, index) => placement.mapped(layer, prefixOf(index)));
      this.#conversion = new Conversion(backend);
      this.#owned.push(this.#conversion);
      const converted = joinHeadNorms(
        layers.map((layer, index) => placement.converted(layer, prefixOf(index))),
        layout,
        backend,
        this.#owned,
      );
      converted.forEach((weights, index) => {
        this.#conversion.add(placement.jobs(layout.layers[index]!), () => {
          this.#layers[index] = weights;
          this.version++;
        });
      });
      const globals = placement.converted(layout.globals, "");
      this.#conversion.add(placement.jobs(layout.globals), () => {
        this.#globals = globals;
        this.version++;
      });
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get globals(): LayerWeights {
    return this.#globals;
  }
  get layers(): readonly LayerWeights[] {
    return this.#layers;
  }

  /** Bytes that are still to be converted. */
  get pendingBytes(): number {
    return this.#conversion.pendingBytes;
  }

  /** Converts for about so many ms, on as many threads as the backend has; not while a graph runs. */
  convert(milliseconds: number): Promise<void> {
    return this.#conversion.run(milliseconds);
  }

  dispose(): void {
    for (const resource of this.#owned.splice(0).reverse()) resource.dispose();
  }
}

/** Gives the tensors of a model their places, in the mapped files and in the buffers of converted matrices. */
class Placement {
  readonly #maps: readonly MappedFile[];
  readonly #mapBuffers: readonly Buffer[];
  readonly #buffers: Readonly<Record<"repacked" | "joined", Buffer | undefined>>;
  readonly #context: Context;
  readonly #tensors = new Map<Placed | GgufTensor, Tensor>();

  constructor(file: GgufFile, layout: WeightLayout, backend: Backend, owned: { dispose(): void }[]) {
    const own = <T extends { dispose(): void }>(resource: T): T => {
      owned.push(resource);
      return resource;
    };
    const { native } = backend;
    const buffer = (type: Pointer | undefined, bytes: number) =>
      type !== undefined && bytes > 0
        ? own(Buffer.allocate(native, type, bytes, { hugePages: true }))
        : undefined;
    const placed = [layout.globals, ...layout.layers].flatMap((weights) => [...new Set(weights.values())]);
    const matrices = placed.reduce(
      (total, { parts, shape }) => total + 1 + parts.length * (1 + (shape[2] ?? 1)),
      0,
    );
    this.#maps = file.shards.map(({ path }) => own(new MappedFile(path)));
    this.#mapBuffers = this.#maps.map((map) => own(Buffer.over(native, map.address, map.byteLength)));
    this.#buffers = {
      repacked: buffer(backend.repackBufferType, layout.repackedBytes),
      joined: buffer(backend.hostBufferType, layout.joinedBytes),
    };
    this.#context = own(new Context(native, { tensors: matrices }));
  }

  /** Every tensor of the file by itself, in place. */
  mapped(entries: ReadonlyMap<string, Placed>, prefix: string): LayerWeights {
    const weights = new Map<string, Weight>();
    for (const [name, entry] of entries) {
      if (entry.inSlots || entry.layout === "device") continue;
      const part = partOf(entry, name);
      weights.set(name, { tensor: this.#mappedTensor(part), firstRow: 0, rows: rowsOf(part) });
    }
    return new LayerWeights(weights, prefix);
  }

  /** As the layout has it. */
  converted(entries: ReadonlyMap<string, Placed>, prefix: string): LayerWeights {
    const weights = new Map<string, Weight>();
    for (const [name, entry] of entries) {
      if (entry.inSlots || entry.layout === "device") continue;
      const part = partOf(entry, name);
      const before = entry.parts.slice(0, entry.parts.indexOf(part));
      const firstRow = before.reduce((sum, other) => sum + rowsOf(other), 0);
      weights.set(name, { tensor: this.#convertedTensor(entry), firstRow, rows: rowsOf(part) });
    }
    return new LayerWeights(weights, prefix);
  }

  /** What converting these entries takes. A joined expert is its parts one after the other: one matrix each. */
  jobs(entries: ReadonlyMap<string, Placed>): ConversionJob[] {
    const jobs: ConversionJob[] = [];
    for (const { layout, parts, shape, offset, inSlots } of new Set(entries.values())) {
      if (layout === "mapped" || layout === "device" || inSlots) continue;
      const experts = shape[2] ?? 1;
      let place = offset;
      for (let expert = 0; expert < experts; expert++) {
        for (const part of parts) {
          const target = this.#context.tensor(part.type, part.shape.slice(0, 2));
          const bytes = part.bytes / experts;
          this.#buffers[layout]!.placeAt(target, place);
          place += bytes;
          const last = expert === experts - 1 && part === parts.at(-1);
          const source = { map: this.#maps[part.shard]!, offset: part.offset + expert * bytes };
          jobs.push({ target, ...source, bytes, leaves: last ? this.#extents(parts) : [] });
        }
      }
    }
    return jobs;
  }

  #extents(parts: readonly GgufTensor[]) {
    return parts.map(({ shard, offset, bytes }) => ({ map: this.#maps[shard]!, offset, bytes }));
  }

  #mappedTensor(part: GgufTensor): Tensor {
    return this.#once(part, () => {
      const tensor = this.#context.tensor(part.type, part.shape, part.name);
      this.#mapBuffers[part.shard]!.placeAt(tensor, part.offset);
      return tensor;
    });
  }

  #convertedTensor(entry: Placed): Tensor {
    const { layout } = entry;
    if (layout === "mapped" || layout === "device") return this.#mappedTensor(entry.parts[0]!);
    return this.#once(entry, () => {
      const tensor = this.#context.tensor(entry.type, entry.shape, entry.parts[0]!.name);
      this.#buffers[layout]!.placeAt(tensor, entry.offset);
      return tensor;
    });
  }

  #once(key: Placed | GgufTensor, make: () => Tensor): Tensor {
    const tensor = this.#tensors.get(key) ?? make();
    this.#tensors.set(key, tensor);
    return tensor;
  }
}

/** The part of an entry that has this name; the output may be the embeddings under another name. */
function partOf(entry: Placed, name: string): GgufTensor {
  return entry.parts.find((part) => part.name.endsWith(name)) ?? entry.parts[0]!;
}

export function prefixOf(layer: number): string {
  return `blk.${layer}.`;
}

function rowsOf(part: GgufTensor): number {
  return part.shape[1] ?? 1;
}

/**
 * Where queries and keys come out of one product and each head is normalised by its own kind's weights, one norm
 * serves both: its weights are those of the query heads, then those of the key heads, [head width, heads].
 */
function joinHeadNorms(
  layers: readonly LayerWeights[],
  { hyperparameters: h }: WeightLayout,
  backend: Backend,
  owned: { dispose(): void }[],
): LayerWeights[] {
  const joined = layers.map((layer) => {
    const q = layer.find("attn_q_norm.weight");
    const k = layer.find("attn_k_norm.weight");
    const sameProduct = layer.find("attn_q.weight")?.tensor === layer.find("attn_k.weight")?.tensor;
    return q && k && sameProduct && q.tensor.shape[0] === h.headWidth ? { q, k } : undefined;
  });
  const count = joined.filter((norms) => norms !== undefined).length;
  if (count === 0) return [...layers];
  const context = new Context(backend.native, { tensors: count });
  owned.push(context);
  const tensors = Array.from({ length: count }, () =>
    context.tensor("F32", [h.headWidth, h.heads + h.kvHeads], jointHeadNorm),
  );
  owned.push(backend.allocate(tensors));
  return layers.map((layer, index) => {
    const norms = joined[index];
    if (!norms) return layer;
    const tensor = tensors.shift()!;
    const values = tensor.floats();
    const query = norms.q.tensor.floats();
    const key = norms.k.tensor.floats();
    for (let head = 0; head < h.heads + h.kvHeads; head++) {
      values.set(head < h.heads ? query : key, head * h.headWidth);
    }
    return layer.with(jointHeadNorm, { tensor, firstRow: 0, rows: 1 });
  });
}
