import type { ExpertLayout } from "./layout.ts";

/** What happened at one layer since the counts were made. Times in ms. */
export interface LayerCounts {
  /** Experts that were asked for and were there. */
  hits: number;
  /** Experts that were asked for and had to be read. */
  misses: number;
  demandBytes: number;
  prefetchBytes: number;
  /** Time in which the computation waited for reads. */
  stallMs: number;
  /** Experts that were asked for while their prefetch was under way. */
  late: number;
  /** Prefetched experts that were there when they were asked for. */
  prefetchesUseful: number;
  /** Prefetched experts that were not used when their layer came. */
  prefetchesWasted: number;
}

const keptWaits = 256;

/** Counts of an expert cache, by layer and of the disk as a whole. */
export class ExpertMetrics {
  readonly layers: readonly LayerCounts[];
  /** Bytes of reads that ended, and the time in which at least one was in flight, ms. */
  readBytes = 0;
  readMs = 0;
  /** The times of those reads added up, ms: over `readMs`, how many were in flight at once. */
  readMsSum = 0;
  /** Of those bytes, what came while somebody waited for an expert: shares of a read as of its time. */
  waitedBytes = 0;
  /** The latest times that a decode step waited for one expert, ms. */
  readonly waitsForOne: number[] = [];
  /** Time that policies took while a step waited for their answer, ms. */
  decidedMs = 0;
  /** Time that policies took while the processor computed or the disk read, ms. */
  besideMs = 0;
  #lastEnd = 0;
  #waiting = 0;
  #waitingSince = 0;
  #waitedMs = 0;

  constructor(layout: ExpertLayout) {
    this.layers = Array.from({ length: layout.layers }, () => ({
      hits: 0,
      misses: 0,
      late: 0,
      demandBytes: 0,
      prefetchBytes: 0,
      stallMs: 0,
      prefetchesUseful: 0,
      prefetchesWasted: 0,
    }));
  }

  /** Over all layers. */
  get total(): LayerCounts {
    const sum = { ...this.layers[0]! };
    for (const layer of this.layers.slice(1)) {
      for (const key of Object.keys(sum) as (keyof LayerCounts)[]) sum[key] += layer[key];
    }
    return sum;
  }

  /** A decode step has waited for so many experts at a layer. */
  waited(layer: number, experts: number, milliseconds: number): void {
    this.stalled(layer, milliseconds);
    if (experts !== 1) return;
    this.waitsForOne.push(milliseconds);
    if (this.waitsForOne.length > keptWaits) this.waitsForOne.shift();
  }

  /** Time in which the computation waited for reads, of all layers, ms. */
  get stallMs(): number {
    return this.layers.reduce((sum, { stallMs }) => sum + stallMs, 0);
  }

  /** A policy was asked, and a step waited for the answer. */
  decided(milliseconds: number): void {
    this.decidedMs += milliseconds;
  }

  hit(layer: number, prefetched: boolean): void {
    this.layers[layer]!.hits++;
    if (prefetched) this.layers[layer]!.prefetchesUseful++;
  }

  miss(layer: number): void {
    this.layers[layer]!.misses++;
  }

  late(layer: number): void {
    this.layers[layer]!.late++;
  }

  wasted(layer: number): void {
    this.layers[layer]!.prefetchesWasted++;
  }

  stalled(layer: number, milliseconds: number): void {
    this.layers[layer]!.stallMs += milliseconds;
  }

  /** Somebody waits for an expert from now on, until `ended` is called. */
  waitBegins(now: number): { ended(now: number): void } {
    if (this.#waiting++ === 0) this.#waitingSince = now;
    return {
      ended: (now) => {
        if (--this.#waiting === 0) this.#waitedMs += now - this.#waitingSince;
      },
    };
  }

  /** Time up to `now` in which somebody waited for at least one expert, ms. */
  waitedMs(now: number): number {
    return this.#waitedMs + (this.#waiting > 0 ? Math.max(0, now - this.#waitingSince) : 0);
  }

  /** A read has begun. @returns to be called when it has ended; reads overlap: time counts once */
  readBegins(layer: number, kind: "demand" | "prefetch", bytes: number, started: number) {
    const waitedBefore = this.waitedMs(started);
    return (ended: number): void => {
      this.layers[layer]![kind === "demand" ? "demandBytes" : "prefetchBytes"] += bytes;
      this.readBytes += bytes;
      this.readMsSum += ended - started;
      this.readMs += Math.max(0, ended - Math.max(started, this.#lastEnd));
      this.#lastEnd = Math.max(this.#lastEnd, ended);
      const waited = this.waitedMs(ended) - waitedBefore;
      if (ended > started) this.waitedBytes += (bytes * waited) / (ended - started);
    };
  }
}
