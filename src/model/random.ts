/** A fast seeded generator of pseudo-random numbers (sfc32). Equal seeds give equal numbers on every machine. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed any whole number; 53 bits of it count */
  constructor(seed: number) {
    this.#a = 0x9e3779b9;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = seed | 0;
    // The first numbers of neighbouring seeds are alike.
    for (let round = 0; round < 15; round++) this.#next();
  }

  /** A whole number from 0 to `limit`, exclusive; `limit` at most 2^32. */
  below(limit: number): number {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  /** Fills `target` with normally distributed numbers of mean 0. */
  fillNormal(target: Float32Array, deviation: number): void {
    for (let index = 0; index < target.length; index += 2) {
      const radius = deviation * Math.sqrt(-2 * Math.log((this.#next() + 1) / 2 ** 32));
      const angle = (2 * Math.PI * this.#next()) / 2 ** 32;
      target[index] = radius * Math.cos(angle);
      if (index + 1 < target.length) target[index + 1] = radius * Math.sin(angle);
    }
  }

  /** 32 random bits, as a number from 0 on. */
  #next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}
