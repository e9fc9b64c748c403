/**
 * The random source of sampling: xoshiro128** 1.1 (D. Blackman and S. Vigna, "Scrambled Linear Pseudorandom
 * Number Generators", ACM TOMS 2021; prng.di.unimi.it), its state filled by SplitMix64 as its authors advise.
 * 32-bit arithmetic throughout, so that a draw costs nanoseconds and is the same on every platform.
 */

const mask64 = (1n << 64n) - 1n;

/** The first `count` outputs of SplitMix64 started at `seed` (its low 64 bits). */
export function splitMix64(seed: bigint, count: number): bigint[] {
  let state = seed & mask64;
  return Array.from({ length: count }, () => {
    state = (state + 0x9e3779b97f4a7c15n) & mask64;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask64;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask64;
    return z ^ (z >> 31n);
  });
}

/** A xoshiro128** generator: period 2^128 - 1. */
export class Xoshiro128 {
  readonly #state: Int32Array;

  /** `state`: four 32-bit words, not all zero. */
  constructor(state: ArrayLike<number>) {
    this.#state = Int32Array.from(state);
  }

  /** A generator whose whole sequence follows from `seed`, any safe integer. */
  static fromSeed(seed: number): Xoshiro128 {
    const words = splitMix64(BigInt(seed), 2).flatMap((z) => [Number(z & 0xffffffffn), Number(z >> 32n)]);
    return new Xoshiro128(words);
  }

  /** The next 32 bits, 0 to 2^32 - 1. */
  nextUint32(): number {
    const s = this.#state;
    const s1 = s[1]!;
    const scaled = Math.imul(s1, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9);
    s[2]! ^= s[0]!;
    s[3]! ^= s1;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= s1 << 9;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result >>> 0;
  }

  /** The next number in [0, 1): a multiple of 2^-53, all equally likely. */
  nextUnit(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}
