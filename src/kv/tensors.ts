import type { Backend } from "../ggml/backend.ts";
import type { Buffer } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import { rowBytes, type TensorType } from "../ggml/types.ts";
import { isQuantised, type KvTypes } from "./types.ts";

/** The shape of a KV cache. Widths are in elements of a cell and layer. */
export interface KvShape {
  readonly layers: number;
  /** Of keys. */
  readonly width: number;
  /** Of values; default as of keys. 0 where the keys begin with the values: they are kept once. */
  readonly valueWidth?: number;
  readonly cells: number;
  /** Elements behind the keys of a cell that stay 0: attention may read past a cell's last head. Default 0. */
  readonly tail?: number;
  /** Elements that attention may read past the last cell's values. Default 0. */
  readonly valueTail?: number;
  readonly types: KvTypes;
}

/** Bytes that a KV cache of this shape takes. */
export function kvBytes({ layers, width, valueWidth = width, cells, tail = 0, types }: KvShape): number {
  return layers * cells * (rowBytes(types.keys, width + tail) + rowBytes(types.values, valueWidth));
}

/**
 * Keys [width + tail, cells] and values [value width, cells] of all layers, a cell a token. Where values are read past
 * their end, memory for that follows the last. Owns its memory.
 */
export class KvTensors {
  readonly shape: KvShape;
  readonly keys: readonly Tensor[];
  /** The keys themselves, where they begin with the values. */
  readonly values: readonly Tensor[];
  readonly #context: Context;
  readonly #buffer: Buffer;

  /** @throws StowageError native_call_failed when the memory cannot be had */
  constructor(backend: Backend, shape: KvShape) {
    this.shape = shape;
    this.#context = new Context(backend.native, { tensors: 2 * shape.layers });
    const { layers, width, valueWidth = width, cells, tail = 0, valueTail = 0, types } = shape;
    const make = (type: TensorType, width: number, cells: number) =>
      Array.from({ length: layers }, () => this.#context.tensor(type, [width, cells]));
    this.keys = make(types.keys, width + tail, cells);
    this.values =
      valueWidth === 0
        ? this.keys
        : make(types.values, valueWidth, cells + Math.ceil(valueTail / valueWidth));
    try {
      // Attention reads cells behind a mask before they are written: they have to hold numbers.
      this.#buffer = backend.allocate(this.#all(), { zeroed: true });
    } catch (error) {
      this.#context.dispose();
      throw error;
    }
  }

  /** Whether keys or values are. */
  get quantised(): boolean {
    return isQuantised(this.shape.types);
  }

  /** Copies `count` cells of every layer; the ranges may overlap. */
  copy(from: number, to: number, count: number): void {
    for (const tensor of this.#all()) {
      const [, cellBytes] = tensor.strides;
      tensor.bytes().copyWithin(to * cellBytes, from * cellBytes, (from + count) * cellBytes);
    }
  }

  #all(): Tensor[] {
    return [...new Set([...this.keys, ...this.values])];
  }

  dispose(): void {
    this.#context.dispose();
    this.#buffer.dispose();
  }
}
