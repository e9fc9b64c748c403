import { AlignedMemory } from "../ggml/aligned.ts";
import type { Backend } from "../ggml/backend.ts";
import { Buffer, tensorAlignment } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { GgufTensor } from "../gguf/read.ts";
import { type DirectFile, readForExpert } from "./direct-file.ts";
import { classOf, type ExpertLayout, recordAlignment } from "./layout.ts";

/** One tensor's share of a record: a matrix, or the rows of one that several tensors make. */
interface Piece {
  /** Index of the matrix, and of the tensor among those that make it. */
  readonly matrix: number;
  readonly part: number;
  readonly bytes: number;
  /** Byte of the record at which it begins. */
  readonly offset: number;
  /** Where its slice of the file is read to, a multiple of 4096. */
  readonly bounce: number;
  /** Where ggml repacks it; undefined when it stays as it is in the file. */
  readonly scratch: Tensor | undefined;
}

/** What a class of records takes. */
interface Plan {
  readonly pieces: readonly Piece[];
  /** Bytes of the record that belong to no matrix: [begin, end]. */
  readonly gaps: readonly (readonly [number, number])[];
}

interface Sizes {
  readonly bounce: number;
  readonly scratch: number;
  readonly pieces: number;
}

/**
 * Makes records out of the model's own file, one at a time: reads an expert's slices, and has ggml bring them into the
 * layout of the kernels. Owns memory of {@link ExpertConverter.bytes}; given back by `dispose`.
 */
export class ExpertConverter {
  readonly #layout: ExpertLayout;
  readonly #backend: Backend;
  readonly #bounce: AlignedMemory;
  readonly #owned: { dispose(): void }[] = [];
  readonly #plans: readonly Plan[];

  /** Bytes that a converter takes. */
  static bytes(layout: ExpertLayout): number {
    const { bounce, scratch } = sizesOf(layout);
    return bounce + scratch;
  }

  /** @throws StowageError native_call_failed when the memory cannot be had */
  constructor(layout: ExpertLayout, backend: Backend) {
    this.#layout = layout;
    this.#backend = backend;
    const { bounce, scratch, pieces } = sizesOf(layout);
    this.#bounce = this.#own(new AlignedMemory(bounce));
    try {
      const context = this.#own(new Context(backend.native, { tensors: pieces }));
      const type = backend.repackBufferType;
      const buffer =
        type && scratch > 0 ? this.#own(Buffer.allocate(backend.native, type, scratch)) : undefined;
      this.#plans = layout.classes.map((_, index) => planOf(layout, index, context, buffer));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /**
   * Reads an expert and makes its record. One call at a time.
   * @param files the model's shards
   * @param target all of the record; every byte of it is written, between matrices with zeros. Undefined when it
   *   throws, and not touched afterwards
   * @throws StowageError expert_read_failed, expert_file_truncated
   */
  async read(
    files: readonly DirectFile[],
    layer: number,
    expert: number,
    target: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    const plan = this.#plans[this.#layout.layerClass[layer]!]!;
    for (const [begin, end] of plan.gaps) target.fill(0, begin, end);
    // Reads and conversions of the pieces overlap. All are waited for: none may write after this has failed.
    const pieces = plan.pieces.map(async (piece) => {
      const tensor = this.#layout.sources[layer]![piece.matrix]![piece.part]!;
      const skip = await this.#readSlice(files[tensor.shard]!, tensor, layer, expert, piece);
      const { scratch, bytes, offset } = piece;
      const at = piece.bounce + skip;
      if (scratch) {
        await this.#backend.setTensor(scratch, this.#bounce.address + BigInt(at), bytes);
        target.set(scratch.bytes(), offset);
      } else {
        target.set(this.#bounce.bytes.subarray(at, at + bytes), offset);
      }
    });
    const results = await Promise.allSettled(pieces);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** The caller has awaited what it read. */
  dispose(): void {
    for (const resource of this.#owned.splice(0).reverse()) resource.dispose();
  }

  /** Reads the blocks that hold a slice. Returns how many bytes before it were read, too. */
  async #readSlice(file: DirectFile, tensor: GgufTensor, layer: number, expert: number, piece: Piece) {
    const begin = tensor.offset + expert * piece.bytes;
    const skip = begin % recordAlignment;
    const length = roundUp(skip + piece.bytes, recordAlignment);
    const blocks = this.#bounce.bytes.subarray(piece.bounce, piece.bounce + length);
    // The last block of a file may be cut: what counts is the slice.
    await readForExpert(file, { layer, expert }, blocks, begin - skip, skip + piece.bytes);
    return skip;
  }

  #own<T extends { dispose(): void }>(resource: T): T {
    this.#owned.push(resource);
    return resource;
  }
}

/** Classes share the memory: a converter has one expert at a time. */
function sizesOf(layout: ExpertLayout): Sizes {
  let [bounce, scratch, pieces] = [0, 0, 0];
  layout.classes.forEach((_, index) => {
    let [classBounce, classScratch] = [0, 0];
    forEachPart(layout, index, (part, repacked) => {
      const bytes = part.bytes / layout.experts;
      classBounce += bounceBytes(bytes);
      if (repacked) classScratch += roundUp(bytes, tensorAlignment);
      pieces++;
    });
    bounce = Math.max(bounce, classBounce);
    scratch = Math.max(scratch, classScratch);
  });
  return { bounce, scratch, pieces };
}

function planOf(layout: ExpertLayout, index: number, context: Context, buffer: Buffer | undefined): Plan {
  const { matrices, recordBytes } = layout.classes[index]!;
  const pieces: Piece[] = [];
  const gaps: [number, number][] = [];
  let [bounce, scratchEnd, end] = [0, 0, 0];
  forEachPart(layout, index, (tensor, repacked, matrix, part) => {
    const bytes = tensor.bytes / layout.experts;
    const offset = part === 0 ? matrices[matrix]!.offset : end;
    if (offset > end) gaps.push([end, offset]);
    end = offset + bytes;
    let scratch: Tensor | undefined;
    if (repacked) {
      scratch = context.tensor(tensor.type, tensor.shape.slice(0, 2));
      buffer!.placeAt(scratch, scratchEnd);
      scratchEnd += roundUp(bytes, tensorAlignment);
    }
    pieces.push({ matrix, part, bytes, offset, bounce, scratch });
    bounce += bounceBytes(bytes);
  });
  if (recordBytes > end) gaps.push([end, recordBytes]);
  return { pieces, gaps };
}

/** The tensors that make a record of a class, in the order of the record. */
function forEachPart(
  layout: ExpertLayout,
  index: number,
  visit: (tensor: GgufTensor, repacked: boolean, matrix: number, part: number) => void,
): void {
  const layer = layout.layerClass.indexOf(index);
  const { matrices } = classOf(layout, layer);
  layout.sources[layer]!.forEach((parts, matrix) => {
    parts.forEach((tensor, part) => {
      visit(tensor, matrices[matrix]!.repacked, matrix, part);
    });
  });
}

/** Whole blocks that hold so many bytes, wherever in a block they begin. */
function bounceBytes(bytes: number): number {
  return roundUp(bytes, recordAlignment) + recordAlignment;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
