import type { Backend } from "../ggml/backend.ts";
import type { Buffer } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import { rowBytes, type TensorType } from "../ggml/types.ts";
import { isQuantised, type KvTypes } from "./types.ts";

/** The shape of a KV cache: `width` elements of keys, and as many of values, a cell and layer. */
export interface KvShape {
  readonly layers: number;
  readonly width: number;
  readonly cells: number;
  /** Elements behind the keys of a cell that stay 0: attention may read past a cell's last head. Default 0. */
  readonly tail?: number;
  readonly types: KvTypes;
}

/** Bytes that a KV cache of this shape takes. */
export function kvBytes({ layers, width, cells, tail = 0, types }: KvShape): number {
  return layers * cells * (rowBytes(types.keys, width + tail) + rowBytes(types.values, width));
}

/**
 * Keys [width + tail, cells] and values [width, cells] of all layers, a cell a token. Where there is a tail,
 * memory for it follows the last value too. Owns its memory.
 */
export class KvTensors {
  readonly shape: KvShape;
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
  readonly #context: Context;
  readonly #buffer: Buffer;

  /** @throws StowageError native_call_failed when the memory cannot be had */
  constructor(backend: Backend, shape: KvShape) {
    this.shape = shape;
    this.#context = new Context(backend.native, { tensors: 2 * shape.layers });
    const { layers, width, cells, tail = 0, types } = shape;
    const make = (type: TensorType, width: number, cells: number) =>
      Array.from({ length: layers }, () => this.#context.tensor(type, [width, cells]));
    this.keys = make(types.keys, width + tail, cells);
    this.values = make(types.values, width, cells + Math.ceil(tail / width));
    try {
      // Attention reads cells behind a mask before they are written: they have to hold numbers.
      this.#buffer = backend.allocate([...this.keys, ...this.values], { zeroed: true });
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
    for (const tensor of [...this.keys, ...this.values]) {
      const [, cellBytes] = tensor.strides;
      tensor.bytes().copyWithin(to * cellBytes, from * cellBytes, (from + count) * cellBytes);
    }
  }

  dispose(): void {
    this.#context.dispose();
    this.#buffer.dispose();
  }
}
