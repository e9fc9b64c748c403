import { Context } from "../ggml/context.ts";
import type { Place } from "../ggml/place.ts";
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

/** The tensors of a KV cache, whatever memory they lie in. */
export interface KvStore {
  readonly shape: KvShape;
  /** By layer, [width + tail, cells]. */
  readonly keys: readonly Tensor[];
  /** By layer, [width, cells]. */
  readonly values: readonly Tensor[];
  /** Whether keys or values are. */
  readonly quantised: boolean;
  /** Copies `count` cells of every layer; the ranges may overlap. */
  copy(from: number, to: number, count: number): void;
  dispose(): void;
}

/**
 * Keys [width + tail, cells] and values [value width, cells] of all layers, a cell a token. Where values are read past
 * their end, memory for that follows the last. Owns its memory.
 */
export class KvTensors implements KvStore {
  readonly shape: KvShape;
  readonly keys: readonly Tensor[];
  /** The keys themselves, where they begin with the values. */
  readonly values: readonly Tensor[];
  readonly #context: Context;
  readonly #place: Place;
  readonly #memory: { dispose(): void };

  /** @throws StowageError native_call_failed when the memory cannot be had */
  constructor(place: Place, shape: KvShape) {
    this.shape = shape;
    this.#place = place;
    this.#context = new Context(place.native, { tensors: 2 * shape.layers });
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
      this.#memory = place.allocate(this.#all(), { zeroed: true });
    } catch (error) {
      this.#context.dispose();
      throw error;
    }
  }

  get quantised(): boolean {
    return isQuantised(this.shape.types);
  }

  copy(from: number, to: number, count: number): void {
    for (const tensor of this.#all()) {
      const [, cellBytes] = tensor.strides;
      this.#place.move(tensor, from * cellBytes, to * cellBytes, count * cellBytes);
    }
  }

  #all(): Tensor[] {
    return [...new Set([...this.keys, ...this.values])];
  }

  dispose(): void {
    this.#context.dispose();
    this.#memory.dispose();
  }
}

/** A KV cache whose first layers are in the memory of the processor and the others in that of a device. Owns both. */
export class SplitKvTensors implements KvStore {
  readonly shape: KvShape;
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
  readonly #parts: readonly KvTensors[];

  /** @throws StowageError native_call_failed, device_memory */
  constructor(backend: Place, device: Place, shape: KvShape, firstDeviceLayer: number) {
    const host = new KvTensors(backend, { ...shape, layers: firstDeviceLayer });
    try {
      this.#parts = [host, new KvTensors(device, { ...shape, layers: shape.layers - firstDeviceLayer })];
    } catch (error) {
      host.dispose();
      throw error;
    }
    this.shape = shape;
    this.keys = this.#parts.flatMap(({ keys }) => keys);
    this.values = this.#parts.flatMap(({ values }) => values);
  }

  get quantised(): boolean {
    return isQuantised(this.shape.types);
  }

  copy(from: number, to: number, count: number): void {
    for (const part of this.#parts) part.copy(from, to, count);
  }

  dispose(): void {
    for (const part of this.#parts) part.dispose();
  }
}
