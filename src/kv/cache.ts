import { CellAllocator } from "./cells.ts";
import type { KvStore } from "./tensors.ts";

/** Cells are handed out in multiples of this; equal to the step of KV lengths in graphs. */
export const cellStep = 256;

/** The KV cells of one sequence. `tokens` are those whose keys and values the first cells hold. */
export interface KvRun {
  first: number;
  capacity: number;
  tokens: number[];
  /** What they were computed with beside the model, if anything; keys and values of others are none of its prefix. */
  readonly variant?: string | undefined;
}

/** A finished sequence's cells, kept until their memory is needed. */
interface Kept extends KvRun {
  lastUsed: number;
}

/**
 * Who holds which KV cells. Running sequences own their run; a finished one's is kept, oldest use first to go, and
 * a new sequence starts from the kept run that shares the longest token prefix with it.
 */
export class KvCache {
  readonly #tensors: KvStore;
  readonly #cells: CellAllocator;
  readonly #kept: Kept[] = [];
  #uses = 0;

  constructor(tensors: KvStore) {
    this.#tensors = tensors;
    this.#cells = new CellAllocator(tensors.shape.cells);
  }

  /** Cells in all, and of those the ones that a new sequence could have now (kept runs count as free). */
  get total(): number {
    return this.#cells.total;
  }
  get available(): number {
    return this.#cells.freeCount + this.#kept.reduce((sum, { capacity }) => sum + capacity, 0);
  }
  get keptRuns(): number {
    return this.#kept.length;
  }

  /**
   * Cells for a sequence that begins with `prompt`. The run's `tokens` say how much of the prompt is there
   * already: at most all but the last token, which has to run for its logits.
   * @param variant only what was computed with the same is shared
   * @returns undefined when the memory is held by running sequences
   */
  open(prompt: ArrayLike<number>, cells: number, variant?: string): KvRun | undefined {
    const wanted = roundUp(cells);
    const best = this.#longestPrefix(prompt, variant);
    if (!best) return this.#allocate(wanted, variant);
    const { kept, length } = best;
    // A run that is continued from its very end is taken as it is; a branch off leaves the original in place.
    if (length < kept.tokens.length) {
      const copy = this.#allocate(wanted, variant, kept);
      if (copy) {
        this.#tensors.copy(kept.first, copy.first, length);
        copy.tokens = kept.tokens.slice(0, length);
        kept.lastUsed = ++this.#uses;
        return copy;
      }
    }
    this.#kept.splice(this.#kept.indexOf(kept), 1);
    const { first, capacity } = kept;
    const run: KvRun = { first, capacity, tokens: kept.tokens.slice(0, length), variant };
    if (this.grow(run, wanted)) return run;
    this.#keep(run);
    return this.#allocate(wanted, variant);
  }

  /**
   * Makes room for at least `cells` cells, in place or by moving the run.
   * @returns false when the memory is held by running sequences; the run is then as before
   */
  grow(run: KvRun, cells: number): boolean {
    const wanted = roundUp(cells);
    if (wanted <= run.capacity) return true;
    do {
      if (this.#cells.extend(run.first, run.capacity, wanted)) {
        run.capacity = wanted;
        return true;
      }
      const first = this.#cells.allocate(wanted);
      if (first !== undefined) {
        this.#tensors.copy(run.first, first, run.tokens.length);
        this.#cells.release(run.first, run.capacity);
        run.first = first;
        run.capacity = wanted;
        return true;
      }
    } while (this.#evictOldest());
    return this.#slide(run, wanted);
  }

  /**
   * Takes a finished or preempted sequence's run back; what it holds stays usable as a prefix. Of two runs of which
   * one begins with the other, only the longer is kept.
   */
  close(run: KvRun): void {
    const longer = this.#kept.find((kept) => beginsWith(kept, run));
    if (longer) longer.lastUsed = ++this.#uses;
    if (longer || run.tokens.length === 0) {
      this.#cells.release(run.first, run.capacity);
      return;
    }
    for (const kept of this.#kept.filter((kept) => beginsWith(run, kept))) this.#forget(kept);
    this.#keep(run);
  }

  /** Forgets every kept run. */
  clear(): void {
    while (this.#evictOldest());
  }

  /** Moves a run to where it fits only because its own cells are free too; old and new place may overlap. */
  #slide(run: KvRun, wanted: number): boolean {
    this.#cells.release(run.first, run.capacity);
    const first = this.#cells.allocate(wanted);
    if (first === undefined) {
      this.#cells.reserve(run.first, run.capacity);
      return false;
    }
    this.#tensors.copy(run.first, first, run.tokens.length);
    run.first = first;
    run.capacity = wanted;
    return true;
  }

  #keep(run: KvRun): void {
    this.#kept.push({ ...run, lastUsed: ++this.#uses });
  }

  #allocate(cells: number, variant: string | undefined, spare?: Kept): KvRun | undefined {
    do {
      const first = this.#cells.allocate(cells);
      if (first !== undefined) {
        return { first, capacity: cells, tokens: [], variant };
      }
    } while (this.#evictOldest(spare));
    return undefined;
  }

  #evictOldest(spare?: Kept): boolean {
    let oldest: Kept | undefined;
    for (const kept of this.#kept) {
      if (kept !== spare && (!oldest || kept.lastUsed < oldest.lastUsed)) oldest = kept;
    }
    if (!oldest) return false;
    this.#forget(oldest);
    return true;
  }

  #forget(kept: Kept): void {
    this.#kept.splice(this.#kept.indexOf(kept), 1);
    this.#cells.release(kept.first, kept.capacity);
  }

  #longestPrefix(
    prompt: ArrayLike<number>,
    variant: string | undefined,
  ): { kept: Kept; length: number } | undefined {
    let best: { kept: Kept; length: number } | undefined;
    for (const kept of this.#kept) {
      if (kept.variant !== variant) continue;
      const limit = Math.min(kept.tokens.length, prompt.length - 1);
      let length = 0;
      while (length < limit && kept.tokens[length] === prompt[length]) length++;
      if (length > (best?.length ?? 0)) best = { kept, length };
    }
    return best;
  }
}

function beginsWith({ tokens, variant }: KvRun, prefix: KvRun): boolean {
  if (variant !== prefix.variant || prefix.tokens.length > tokens.length) return false;
  return prefix.tokens.every((token, index) => token === tokens[index]);
}

function roundUp(cells: number): number {
  return Math.ceil(Math.max(cells, 1) / cellStep) * cellStep;
}
