import type { TensorType } from "../ggml/types.ts";
import type { GgufTensor } from "../gguf/read.ts";

/** Records and slots begin at multiples of this, bytes: what unbuffered reads ask for. */
export const recordAlignment = 4096;
/** Matrices begin at multiples of this inside a record, bytes: what the kernels ask for. */
export const matrixAlignment = 64;

/** One matrix of an expert as it lies in a record and in a slot. */
export interface ExpertMatrix {
  /** Names of the weights after `blk.N.`, row under row: gate and up are one matrix where the layout joins them. */
  readonly weights: readonly string[];
  readonly type: TensorType;
  /** Elements of a row, rows. */
  readonly shape: readonly [number, number];
  readonly bytes: number;
  /** Byte in the record at which it begins, a multiple of {@link matrixAlignment}. */
  readonly offset: number;
  /** Whether its bytes are in ggml's layout of the fast kernels; else as in the file. */
  readonly repacked: boolean;
}

/** Experts whose records look alike: a model that mixes types has a class for each mix. */
export interface ExpertClass {
  readonly matrices: readonly ExpertMatrix[];
  /** Bytes of a record: a multiple of {@link recordAlignment}. */
  readonly recordBytes: number;
}

/** The experts of a model: what each is made of, and where its bytes are in the model's files. */
export interface ExpertLayout {
  readonly layers: number;
  /** Experts of each layer that has some. */
  readonly experts: number;
  readonly classes: readonly ExpertClass[];
  /** The class of each layer, an index of {@link ExpertLayout.classes}; null for a layer without experts. */
  readonly layerClass: readonly (number | null)[];
  /**
   * [layer][matrix]: the tensors [k, rows, experts] whose slices of an expert make the matrix, row under row; none for a
   * layer without experts. Expert e's slice of a tensor begins at `offset + e * bytes / experts` of shard `shard`.
   */
  readonly sources: readonly (readonly (readonly GgufTensor[])[])[];
}

/** The class of a layer's experts, of which it has some. */
export function classOf(layout: ExpertLayout, layer: number): ExpertClass {
  return layout.classes[layout.layerClass[layer]!]!;
}

/** Bytes of all experts' records. */
export function allRecordBytes(layout: ExpertLayout): number {
  return layout.layerClass.reduce<number>(
    (total, index) => total + (index === null ? 0 : layout.classes[index]!.recordBytes * layout.experts),
    0,
  );
}

/** [layer, expert] of every record, in the order of a prepared file. */
export function allRecords(layout: ExpertLayout): (readonly [number, number])[] {
  return layout.layerClass.flatMap((index, layer) =>
    index === null ? [] : Array.from({ length: layout.experts }, (_, expert) => [layer, expert] as const),
  );
}
