/**
 * Hands out runs of neighbouring KV cells, first fit. A sequence's cells are always one run, so that attention
 * reads them through a plain view.
 */
export class CellAllocator {
  readonly total: number;
  /** Free runs by rising first cell, never touching one another. */
  readonly #free: { first: number; count: number }[];

  constructor(total: number) {
    this.total = total;
    this.#free = total > 0 ? [{ first: 0, count: total }] : [];
  }

  get freeCount(): number {
    return this.#free.reduce((sum, { count }) => sum + count, 0);
  }

  /** @returns the first of `count` cells, or undefined when no free run is as long */
  allocate(count: number): number | undefined {
    const index = this.#free.findIndex((run) => run.count >= count);
    const run = this.#free[index];
    if (!run) return undefined;
    const { first } = run;
    run.first += count;
    run.count -= count;
    if (run.count === 0) this.#free.splice(index, 1);
    return first;
  }

  /** Extends a run by the free cells right behind it. @returns whether there were enough */
  extend(first: number, count: number, to: number): boolean {
    const index = this.#free.findIndex((run) => run.first === first + count);
    const run = this.#free[index];
    const more = to - count;
    if (!run || run.count < more) return false;
    run.first += more;
    run.count -= more;
    if (run.count === 0) this.#free.splice(index, 1);
    return true;
  }

  /** Takes exactly these cells, which have to be free. */
  reserve(first: number, count: number): void {
    const index = this.#free.findIndex((run) => run.first <= first && run.first + run.count >= first + count);
    const run = this.#free[index];
    if (!run) throw new Error(`cells ${first} to ${first + count} are not free`);
    const before = { first: run.first, count: first - run.first };
    const after = { first: first + count, count: run.first + run.count - first - count };
    this.#free.splice(index, 1, ...[before, after].filter((part) => part.count > 0));
  }

  release(first: number, count: number): void {
    if (count === 0) return;
    const index = this.#free.findIndex((run) => run.first > first);
    const at = index < 0 ? this.#free.length : index;
    this.#free.splice(at, 0, { first, count });
    this.#merge(at);
    if (at > 0) this.#merge(at - 1);
  }

  #merge(index: number): void {
    const run = this.#free[index];
    const next = this.#free[index + 1];
    if (!run || !next || run.first + run.count !== next.first) return;
    run.count += next.count;
    this.#free.splice(index + 1, 1);
  }
}
