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
  /** Prefetched experts that lost their slot unused. */
  prefetchesWasted: number;
}

/** Counts of an expert cache, by layer and of the disk as a whole. */
export class ExpertMetrics {
  readonly layers: readonly LayerCounts[];
  /** Bytes of reads that ended, and the time in which at least one was in flight, ms. */
  readBytes = 0;
  readMs = 0;
  #lastEnd = 0;

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

  /** A read has ended. Reads overlap: the time of each counts from where the one before it ended. */
  read(layer: number, kind: "demand" | "prefetch", bytes: number, started: number, ended: number): void {
    const counts = this.layers[layer]!;
    counts[kind === "demand" ? "demandBytes" : "prefetchBytes"] += bytes;
    this.readBytes += bytes;
    this.readMs += ended - Math.max(started, Math.min(this.#lastEnd, ended));
    this.#lastEnd = Math.max(this.#lastEnd, ended);
  }
}
