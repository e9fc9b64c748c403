import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import type { Native } from "./library.ts";
import { adviseHugePages, freshMemory } from "./memory.ts";
import type { Tensor } from "./tensor.ts";

/** Alignment of tensors in host buffers, bytes. */
export const tensorAlignment = 64;

/** Memory for tensors' data, of one buffer type. One owner; freed by `dispose`. */
export class Buffer {
  readonly native: Native;
  readonly byteLength: number;
  /** What the buffer lies in, when that is the buffer's own. */
  readonly #memory: { dispose(): void } | undefined;
  #pointer: Pointer;
  #used = 0;

  /**
   * @param bytes room for the tensors that {@link Buffer.place} will put there, alignment included
   * @param options.hugePages for memory that is read as a whole, again and again: asks for large pages, which the
   *   system fills as a whole at the first touch
   * @throws StowageError native_call_failed when the memory cannot be had
   */
  static allocate(
    native: Native,
    bufferType: Pointer,
    bytes: number,
    options: { hugePages?: boolean } = {},
  ): Buffer {
    const pointer: Pointer = native.ggml.ggml_backend_buft_alloc_buffer(
      bufferType,
      BigInt(Math.max(bytes, 1)),
    );
    if (!pointer) {
      throw new StowageError("native_call_failed", {
        call: "ggml_backend_buft_alloc_buffer",
        reason: `no ${bytes} bytes of memory could be had.`,
      });
    }
    if (options.hugePages) adviseHugePages(native.ggml.ggml_backend_buffer_get_base(pointer), bytes);
    return new Buffer(native, pointer, bytes);
  }

  /** A buffer over memory that somebody else owns and keeps alive (a mapped file). */
  static over(native: Native, address: Pointer, bytes: number): Buffer {
    return new Buffer(native, native.ggml.ggml_backend_cpu_buffer_from_ptr(address, BigInt(bytes)), bytes);
  }

  /**
   * A buffer of zeros that takes memory only where it is touched, if the system can do that.
   * @throws StowageError native_call_failed when the memory cannot be had
   */
  static zeroed(native: Native, hostBufferType: Pointer, bytes: number): Buffer {
    const fresh = freshMemory(bytes);
    if (fresh) {
      const pointer: Pointer = native.ggml.ggml_backend_cpu_buffer_from_ptr(fresh.address, BigInt(bytes));
      return new Buffer(native, pointer, bytes, fresh);
    }
    const buffer = Buffer.allocate(native, hostBufferType, bytes);
    new Uint8Array(koffi.view(buffer.base, bytes)).fill(0);
    return buffer;
  }

  constructor(native: Native, pointer: Pointer, bytes: number, memory?: { dispose(): void }) {
    this.native = native;
    this.#pointer = pointer;
    this.byteLength = bytes;
    this.#memory = memory;
  }

  get base(): Pointer {
    return this.native.ggml.ggml_backend_buffer_get_base(this.#alive());
  }

  get disposed(): boolean {
    return !this.#pointer;
  }

  /**
   * Gives `tensor` the next free, aligned bytes of the buffer.
   * @throws StowageError native_call_failed, as for {@link Buffer.placeAt}
   */
  place(tensor: Tensor): void {
    const offset = Math.ceil(this.#used / tensorAlignment) * tensorAlignment;
    this.placeAt(tensor, offset);
    this.#used = offset + tensor.byteLength;
  }

  /**
   * Gives `tensor` the bytes from `offset` on; other tensors may lie there too.
   * @throws StowageError native_call_failed when they do not lie in the buffer, or the tensor has memory already
   */
  placeAt(tensor: Tensor, offset: number): void {
    const end = offset + tensor.byteLength;
    if (offset < 0 || end > this.byteLength) {
      throw new StowageError("native_call_failed", {
        call: "ggml_backend_tensor_alloc",
        reason: `bytes ${offset} to ${end} do not lie in the buffer of ${this.byteLength}.`,
      });
    }
    if (tensor.data) {
      throw new StowageError("native_call_failed", {
        call: "ggml_backend_tensor_alloc",
        reason: "the tensor has memory already.",
      });
    }
    const address = this.base + BigInt(offset);
    const status: number = this.native.ggml.ggml_backend_tensor_alloc(this.#alive(), tensor.pointer, address);
    if (status !== 0) {
      throw new StowageError("native_call_failed", {
        call: "ggml_backend_tensor_alloc",
        reason: `status ${status}.`,
      });
    }
    tensor.buffer = this;
  }

  /**
   * Bytes of the buffer in place, for host memory. Not a copy: valid until the buffer is disposed.
   * @throws StowageError native_call_failed when they do not lie in the buffer
   */
  bytes(offset: number, length: number): Uint8Array<ArrayBuffer> {
    if (offset < 0 || offset + length > this.byteLength) {
      throw new StowageError("native_call_failed", {
        call: "ggml_backend_buffer_get_base",
        reason: `bytes ${offset} to ${offset + length} do not lie in the buffer of ${this.byteLength}.`,
      });
    }
    return new Uint8Array(koffi.view(this.base + BigInt(offset), length));
  }

  /** Fills it with zeros. */
  clear(): void {
    this.native.ggml.ggml_backend_buffer_clear(this.#alive(), 0);
  }

  dispose(): void {
    if (!this.#pointer) return;
    this.native.ggml.ggml_backend_buffer_free(this.#pointer);
    this.#memory?.dispose();
    this.#pointer = 0n;
  }

  #alive(): Pointer {
    if (!this.#pointer) throw new StowageError("native_disposed", { what: "A buffer" });
    return this.#pointer;
  }
}
