import { StowageError } from "../errors.ts";
import type { Backend } from "../ggml/backend.ts";
import { Buffer } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import { rowBytes } from "../ggml/types.ts";
import { classOf, type ExpertLayout, type ExpertMatrix, recordAlignment } from "./layout.ts";

/** Tensors in the repacked layout have whole groups of rows. */
const rowGroup = 64;

/** The slots of one class: so many records, one behind the other, and each matrix of all of them as one tensor. */
interface Slab {
  readonly count: number;
  readonly recordBytes: number;
  /** Of the first record. */
  readonly offset: number;
  /** By matrix: [k, rows] from the first record's matrix to the end of the slab, to take views of. */
  readonly tensors: readonly Tensor[];
}

/**
 * Memory for the records of some of a model's experts. Which expert lies in which slot is somebody else's to know. Memory
 * is taken from the system as slots are filled. Owns it; given back by `dispose`, when no read and no graph uses it.
 */
export class ExpertSlots {
  readonly layout: ExpertLayout;
  readonly #buffer: Buffer;
  readonly #plain: Buffer;
  readonly #context: Context;
  readonly #start: number;
  readonly #slabs: readonly Slab[];
  readonly #views = new Map<string, Uint8Array<ArrayBuffer>>();

  /** @throws StowageError expert_memory when a class has fewer slots than a token needs; native_call_failed */
  constructor(backend: Backend, layout: ExpertLayout, counts: readonly number[]) {
    this.layout = layout;
    const slabBytes = layout.classes.map(({ recordBytes }, index) => recordBytes * counts[index]!);
    const bytes = slabBytes.reduce((sum, each) => sum + each, 0);
    const { native } = backend;
    const type = backend.repackBufferType ?? backend.hostBufferType;
    const reserved = bytes + recordAlignment + overhang(layout);
    this.#buffer = Buffer.allocate(native, type, reserved, { hugePages: true });
    const { base } = this.#buffer;
    this.#start = Number(
      (BigInt(recordAlignment) - (base % BigInt(recordAlignment))) % BigInt(recordAlignment),
    );
    // Matrices without a repacked layout lie in the same memory, as tensors of a plain buffer.
    this.#plain = Buffer.over(native, base, reserved);
    const matrices = layout.classes.reduce((sum, { matrices }) => sum + matrices.length, 0);
    this.#context = new Context(native, { tensors: matrices });
    let offset = this.#start;
    this.#slabs = layout.classes.map(({ matrices, recordBytes }, index) => {
      const slab = { count: counts[index]!, recordBytes, offset };
      offset += slabBytes[index]!;
      return { ...slab, tensors: matrices.map((matrix) => this.#slabTensor(matrix, slab)) };
    });
  }

  /** Slots for the experts of a layer; layers of one class share them. */
  count(layer: number): number {
    return this.#slab(layer).count;
  }

  /** The matrices `index` of all slots of a layer's class, [k, m, slots]: what `mul_mat_id` takes, with slots as ids. */
  all(context: Context, layer: number, index: number): Tensor {
    const { tensors, count, recordBytes } = this.#slab(layer);
    const { shape, type } = classOf(this.layout, layer).matrices[index]!;
    return context.view(tensors[index]!, [...shape, count], [rowBytes(type, shape[0]), recordBytes], 0);
  }

  /** Matrix `index` of the expert in a slot, [k, m]. */
  one(context: Context, layer: number, index: number, slot: number): Tensor {
    const { tensors, recordBytes } = this.#slab(layer);
    const { shape, type } = classOf(this.layout, layer).matrices[index]!;
    return context.view(tensors[index]!, shape, [rowBytes(type, shape[0])], slot * recordBytes);
  }

  /** A slot's bytes, to be filled. */
  bytes(layer: number, slot: number): Uint8Array<ArrayBuffer> {
    const key = `${this.layout.layerClass[layer]} ${slot}`;
    let view = this.#views.get(key);
    if (!view) {
      const { offset, recordBytes } = this.#slab(layer);
      view = this.#buffer.bytes(offset + slot * recordBytes, recordBytes);
      this.#views.set(key, view);
    }
    return view;
  }

  dispose(): void {
    this.#views.clear();
    this.#context.dispose();
    this.#plain.dispose();
    this.#buffer.dispose();
  }

  #slab(layer: number): Slab {
    return this.#slabs[this.layout.layerClass[layer]!]!;
  }

  #slabTensor(matrix: ExpertMatrix, slab: Omit<Slab, "tensors">): Tensor {
    const [k] = matrix.shape;
    const bytes = (slab.count - 1) * slab.recordBytes + matrix.bytes;
    const rows = Math.ceil(bytes / rowBytes(matrix.type, k) / rowGroup) * rowGroup;
    const tensor = this.#context.tensor(matrix.type, [k, rows]);
    (matrix.repacked ? this.#buffer : this.#plain).placeAt(tensor, slab.offset + matrix.offset);
    return tensor;
  }
}

/**
 * By how much the tensor over a slab may reach past its last matrix, bytes: it has whole groups of rows, and strides
 * from slot to slot are no whole rows. Nothing reads there.
 */
function overhang({ classes }: ExpertLayout): number {
  const rows = classes.flatMap(({ matrices }) => matrices.map(({ type, shape: [k] }) => rowBytes(type, k)));
  return rowGroup * Math.max(...rows);
}

/** Bytes of the fewest slots that work: `least` of each class, the experts of one token. */
export function leastSlotBytes({ classes }: ExpertLayout, least: number): number {
  return least * classes.reduce((sum, { recordBytes }) => sum + recordBytes, 0);
}

/**
 * How many slots of each class a budget gives: in the proportion of the classes' layers.
 * @param budget bytes
 * @param least slots that every class needs: the experts of one token
 * @param records that may come into the slots of each class; default all
 * @throws StowageError expert_memory, naming the least that works
 */
export function slotCounts(
  layout: ExpertLayout,
  budget: number,
  least: number,
  records: readonly number[] = recordCounts(layout),
): number[] {
  const { classes } = layout;
  const total = classes.reduce((sum, { recordBytes }, index) => sum + recordBytes * records[index]!, 0);
  const share = Math.min(1, budget / total);
  const counts = records.map((count) => Math.max(least, Math.floor(share * count)));
  const taken = () => counts.reduce((sum, count, index) => sum + count * classes[index]!.recordBytes, 0);
  // A class that needed more than its share has the others give way.
  while (taken() > budget) {
    const widest = counts.indexOf(Math.max(...counts));
    if (counts[widest]! <= least) {
      throw tooSmall(budget, { needed: leastSlotBytes(layout, least), experts: least, all: total });
    }
    counts[widest]!--;
  }
  return counts;
}

/** Records of each class. */
function recordCounts({ classes, layerClass, experts }: ExpertLayout): number[] {
  return classes.map((_, index) => experts * layerClass.filter((other) => other === index).length);
}

/** A budget, bytes, that holds less than is needed. @param sizes bytes; `experts` is a count */
export function tooSmall(
  budget: number,
  { needed, experts, all }: { needed: number; experts: number; all: number },
): StowageError {
  return new StowageError("expert_memory", {
    budget: mebibytes(budget),
    needed: mebibytesUp(needed),
    experts,
    all: mebibytesUp(all),
  });
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

function mebibytesUp(bytes: number): string {
  return (Math.ceil((bytes / 2 ** 20) * 10) / 10).toFixed(1);
}
