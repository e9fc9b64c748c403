import koffi from "koffi";
import type { Pointer } from "./bindings.ts";
import { adviseHugePages, freshMemory } from "./memory.ts";

/** What unbuffered reads ask of addresses, bytes. */
const alignment = 4096;

/**
 * Zeros in native memory that begin at a multiple of 4096: for unbuffered reads, and as a source of
 * {@link Backend.setTensor}. One owner; given back by `dispose`, after which `bytes` must not be touched.
 */
export class AlignedMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly address: Pointer;
  readonly #free: () => void;

  /**
   * @param options.hugePages as for {@link Buffer.allocate}
   * @throws StowageError native_call_failed when the memory cannot be had
   */
  constructor(byteLength: number, options: { hugePages?: boolean } = {}) {
    const fresh = freshMemory(byteLength);
    if (fresh) {
      this.address = fresh.address;
      this.#free = fresh.dispose;
    } else {
      const block: Pointer = koffi.alloc("uint8", byteLength + alignment);
      this.address = BigInt(Math.ceil(Number(block) / alignment)) * BigInt(alignment);
      this.#free = () => koffi.free(block);
    }
    if (options.hugePages) adviseHugePages(this.address, byteLength);
    this.bytes = new Uint8Array(koffi.view(this.address, byteLength));
    if (!fresh) this.bytes.fill(0);
  }

  dispose(): void {
    this.#free();
  }
}
