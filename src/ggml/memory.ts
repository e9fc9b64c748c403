import { closeSync, fstatSync, openSync } from "node:fs";
import koffi from "koffi";
import "./stack.ts";
import { StowageError } from "../errors.ts";
import type { KoffiFunction, Pointer } from "./bindings.ts";

const pageBytes = 4096n;
const hugePageBytes = 2 * 1024 * 1024;
const largeBlockBytes = 1024 * 1024;
const adviseDontNeed = 4;
const adviseHugePage = 14;

interface Libc {
  madvise: KoffiFunction;
  mallopt: KoffiFunction;
  mincore: KoffiFunction;
  mmap: KoffiFunction;
  munmap: KoffiFunction;
}

let libc: Libc | undefined;

/** The C library's memory calls; only Linux has them here, other systems do without. */
function memoryCalls(): Libc | undefined {
  if (process.platform !== "linux") return undefined;
  if (!libc) {
    const library = koffi.load("libc.so.6");
    libc = {
      madvise: library.func("int madvise(void*, size_t, int)"),
      mallopt: library.func("int mallopt(int, int)"),
      mincore: library.func("int mincore(void*, size_t, void*)"),
      mmap: library.func("void* mmap(void*, size_t, int, int, int, int64_t)"),
      munmap: library.func("int munmap(void*, size_t)"),
    };
  }
  return libc;
}

/**
 * Asks for huge pages, where the system grants them on request: large weights are then filled with fewer faults
 * and read with fewer address translations. Advice only; a refusal changes nothing.
 */
export function adviseHugePages(address: Pointer, bytes: number): void {
  if (bytes < hugePageBytes) return;
  const start = ((address + pageBytes - 1n) / pageBytes) * pageBytes;
  memoryCalls()?.madvise(start, BigInt(bytes) - (start - address), adviseHugePage);
}

/**
 * Makes freed buffers of models go back to the system at once. By itself glibc moves blocks of up to 32 MiB into its
 * heap as soon as one such block was freed, where small neighbours keep what a disposed model held.
 */
export function returnLargeBlocks(): void {
  const mmapThreshold = -3;
  memoryCalls()?.mallopt(mmapThreshold, largeBlockBytes);
}

/**
 * Memory fresh from the system: zeros, and resident only where it is touched. One owner; given back by `dispose`.
 * Undefined where the system cannot be asked for it.
 */
export function freshMemory(bytes: number): { address: Pointer; dispose(): void } | undefined {
  const calls = memoryCalls();
  if (!calls) return undefined;
  const readAndWrite = 3;
  const privateAnonymous = 0x22;
  const length = BigInt(bytes);
  const address: Pointer = calls.mmap(0n, length, readAndWrite, privateAnonymous, -1, 0n);
  if (BigInt.asIntN(64, address) === -1n) {
    throw new StowageError("native_call_failed", {
      call: "mmap",
      reason: `no ${bytes} bytes of memory could be had.`,
    });
  }
  return { address, dispose: () => void calls.munmap(address, length) };
}

/** A file mapped read-only into memory. One owner; unmapped by `dispose`. */
export class MappedFile {
  readonly path: string;
  readonly byteLength: number;
  #address: Pointer;

  /** @throws StowageError native_call_failed when the file cannot be mapped */
  constructor(path: string) {
    const descriptor = openSync(path, "r");
    try {
      this.path = path;
      this.byteLength = fstatSync(descriptor).size;
      const readable = 1;
      const shared = 1;
      const address: Pointer = memoryCalls()!.mmap(
        0n,
        BigInt(this.byteLength),
        readable,
        shared,
        descriptor,
        0n,
      );
      if (BigInt.asIntN(64, address) === -1n) {
        throw new StowageError("native_call_failed", {
          call: "mmap",
          reason: `${path} could not be mapped.`,
        });
      }
      this.#address = address;
    } finally {
      closeSync(descriptor);
    }
  }

  get address(): Pointer {
    if (!this.#address) throw new StowageError("native_disposed", { what: `The mapping of ${this.path}` });
    return this.#address;
  }

  /** Lets go of the physical pages of a range that will not be read again soon; neighbours may have to come back. */
  release(offset: number, bytes: number): void {
    const start = (BigInt(offset) / pageBytes) * pageBytes;
    const end = BigInt(offset + bytes);
    const length = end < BigInt(this.byteLength) ? end - start : BigInt(this.byteLength) - start;
    memoryCalls()?.madvise(this.address + start, length, adviseDontNeed);
  }

  /** Bytes of the file that are in the page cache now, whoever read them. */
  residentBytes(): number {
    const pages = Math.ceil(this.byteLength / Number(pageBytes));
    const present = new Uint8Array(pages);
    memoryCalls()?.mincore(this.address, BigInt(this.byteLength), present);
    return present.reduce((count, page) => count + (page & 1), 0) * Number(pageBytes);
  }

  dispose(): void {
    if (!this.#address) return;
    memoryCalls()?.munmap(this.#address, BigInt(this.byteLength));
    this.#address = 0n;
  }
}
