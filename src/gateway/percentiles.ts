/** The latest values of something, and their percentiles. */
export class RecentValues {
  readonly #values: Float64Array;
  #next = 0;
  #filled = 0;

  /** @param capacity values that are kept; older ones are forgotten */
  constructor(capacity: number) {
    this.#values = new Float64Array(capacity);
  }

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.#values.length;
    this.#filled = Math.min(this.#filled + 1, this.#values.length);
  }

  /** By the nearest rank; null before the first value. */
  summary(): { p50: number; p90: number; p99: number; count: number } | null {
    if (this.#filled === 0) return null;
    const sorted = this.#values.slice(0, this.#filled).sort();
    const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1]!;
    return { p50: at(0.5), p90: at(0.9), p99: at(0.99), count: this.#filled };
  }
}
