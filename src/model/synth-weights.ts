import { quantizeRows } from "../ggml/quantize.ts";
import { rowBytes, type TensorType, tensorTypes } from "../ggml/types.ts";
import type { Random } from "./random.ts";

/** Normally distributed values that are quantised once for each type and deviation. */
const poolElements = 1 << 20;
/** Values that are copied out of the pool at a time: the largest block of any type. */
const pieceElements = 256;
/** Bytes handed to the writer at a time, about. */
const chunkPieces = 1 << 15;

/**
 * Makes the data of large random matrices as fast as a disk takes it. Quantising every value would take minutes: 1 M
 * normally distributed values are quantised once a type and deviation, and a matrix is put together of pieces of 256
 * values, each copied from a random place of those. So rows differ from each other, but two long rows share a piece
 * now and then.
 */
export class SyntheticWeights {
  /** Normally distributed, with variance 1. */
  readonly values: Float32Array = new Float32Array(poolElements);
  readonly #random: Random;
  readonly #pools = new Map<string, Uint8Array>();

  constructor(random: Random) {
    this.#random = random;
    random.fillNormal(this.values, 1);
  }

  /**
   * The data of a matrix, in chunks; a chunk is valid until the next one is asked for.
   * @param elements whole blocks of `type`
   * @param deviation standard deviation of the values
   * @param zeros so many of the first elements, whole blocks too, are 0
   */
  async *matrix(
    type: TensorType,
    elements: number,
    deviation: number,
    zeros: number,
  ): AsyncIterable<Uint8Array> {
    const pool = await this.#pool(type, deviation);
    const pieceBytes = rowBytes(type, pieceElements);
    const blockBytes = tensorTypes[type].bytes;
    const places = (pool.length - pieceBytes) / blockBytes + 1;
    let zeroBytes = rowBytes(type, zeros);
    let left = rowBytes(type, elements);
    const chunk = new Uint8Array(Math.min(left, chunkPieces * pieceBytes));
    while (left > 0) {
      const bytes = Math.min(left, chunk.length);
      for (let at = 0; at < bytes; at += pieceBytes) {
        const start = this.#random.below(places) * blockBytes;
        chunk.set(pool.subarray(start, start + Math.min(pieceBytes, bytes - at)), at);
      }
      // In every type a block of zero bytes holds zeros.
      chunk.fill(0, 0, Math.min(zeroBytes, bytes));
      zeroBytes = Math.max(0, zeroBytes - bytes);
      left -= bytes;
      yield chunk.subarray(0, bytes);
    }
  }

  /** Values of F32 around 0, each drawn anew. */
  around0(elements: number, deviation: number): Uint8Array {
    const values = new Float32Array(elements);
    this.#random.fillNormal(values, deviation);
    return new Uint8Array(values.buffer);
  }

  /** Values of F32 that rise from 1 to `most`, as factors of RoPE's wavelengths do. */
  rising(elements: number, most: number): Uint8Array {
    const values = Float32Array.from({ length: elements }, (_, index) => 1 + ((most - 1) * index) / elements);
    return new Uint8Array(values.buffer);
  }

  /**
   * The weights of a norm: values of F32 around 1.
   * @param signed every second one, on average, is negative
   * @param scale they are around so much instead of 1
   */
  norm(elements: number, deviation: number, signed: boolean, scale: number): Uint8Array {
    const values = new Float32Array(elements);
    this.#random.fillNormal(values, deviation);
    const signs = values.map(() => (signed && this.#random.below(2) === 0 ? -1 : 1));
    return new Uint8Array(values.map((value, index) => signs[index]! * scale * (1 + value)).buffer);
  }

  async #pool(type: TensorType, deviation: number): Promise<Uint8Array> {
    const key = `${type} ${deviation}`;
    let pool = this.#pools.get(key);
    if (pool) return pool;
    pool = new Uint8Array(rowBytes(type, poolElements));
    const scaled = this.values.map((value) => value * deviation);
    await quantizeRows(type, scaled, pieceElements, pool);
    this.#pools.set(key, pool);
    return pool;
  }
}
