import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import type { Buffer } from "./buffer.ts";
import type { Context } from "./context.ts";
import { tensorLayout } from "./struct.ts";
import { type TensorType, tensorTypeOf } from "./types.ts";

/** Four extents, the fastest-varying first, as ggml has them. */
export type Shape = readonly [number, number, number, number];

/**
 * A tensor that lives in a {@link Context}: its description, and access to its data where that is in host memory.
 * After the context is disposed or reset, every use throws `native_disposed`.
 */
export class Tensor {
  readonly context: Context;
  /** Where {@link Buffer.placeAt} put the data; the working memory of graphs is none. */
  buffer: Buffer | undefined;
  readonly #pointer: Pointer;
  readonly #generation: number;
  #view: ArrayBuffer | undefined;

  constructor(context: Context, pointer: Pointer) {
    this.context = context;
    this.#pointer = pointer;
    this.#generation = context.generation;
  }

  /** The native address; for `src/ggml` only. */
  get pointer(): Pointer {
    if (this.#generation !== this.context.generation) throw disposed();
    return this.#pointer;
  }

  get type(): TensorType {
    return tensorTypeOf(this.context.int32(this.pointer, tensorLayout.type))!;
  }

  /** Elements along each dimension. */
  get shape(): Shape {
    return this.#four(tensorLayout.ne);
  }

  /** Bytes between neighbours along each dimension. */
  get strides(): Shape {
    return this.#four(tensorLayout.nb);
  }

  /** Bytes from the first element to behind the last. */
  get byteLength(): number {
    return Number(this.context.native.ggml.ggml_nbytes(this.pointer));
  }

  /** Address of the data; 0 before allocation. */
  get data(): Pointer {
    return this.context.uint64(this.pointer, tensorLayout.data);
  }

  /**
   * The data in place, as bytes. Not a copy: valid until the tensor's buffer is disposed.
   * @throws StowageError native_disposed when the tensor has no memory, or not any more
   */
  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#memory());
  }

  /** The data in place as 32-bit floats (type F32). */
  floats(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#memory());
  }

  /** The data in place as 32-bit integers (type I32). */
  ints(): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#memory());
  }

  /** The data in place as 64-bit integers (type I64). */
  longs(): BigInt64Array<ArrayBuffer> {
    return new BigInt64Array(this.#memory());
  }

  /** The data in place as 16-bit words (types F16 and BF16). */
  halves(): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.#memory());
  }

  #memory(): ArrayBuffer {
    const { data } = this;
    if (!data || this.buffer?.disposed) throw disposed();
    this.#view ??= this.#viewAt(data);
    return this.#view;
  }

  /** @throws StowageError native_call_failed for data in the memory of a device */
  #viewAt(data: Pointer): ArrayBuffer {
    const { ggml, cpuDevice } = this.context.native;
    const buffer = this.context.uint64(this.pointer, tensorLayout.buffer);
    // Repacked weights lie in memory of the processor too, though ggml does not call that a host buffer.
    const device: Pointer = buffer
      ? ggml.ggml_backend_buft_get_device(ggml.ggml_backend_buffer_get_type(buffer))
      : cpuDevice;
    if (device && device !== cpuDevice) {
      const reason = "the tensor lies in the memory of a device.";
      throw new StowageError("native_call_failed", { call: "ggml_get_data", reason });
    }
    return koffi.view(data, this.byteLength);
  }

  #four(offset: number): Shape {
    const read = (index: number) => Number(this.context.uint64(this.pointer, offset + 8 * index));
    return [read(0), read(1), read(2), read(3)];
  }
}

function disposed(): StowageError {
  return new StowageError("native_disposed", { what: "A tensor" });
}
