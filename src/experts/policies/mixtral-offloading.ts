import type { EvictionPolicy, ExpertId, Moment, PolicyShape } from "./policy.ts";

/**
 * LRU by layer (Mixtral-offloading, arXiv 2312.17238, section 3.1): each layer has its share of the slots and evicts its own
 * least recently used expert. Reads ahead by `next-gate` (section 3.2). Ours has one pool of slots: a layer that is over its
 * share gives its oldest first, then the layer that is run next, for which slots are wanted, its own oldest. Only when these
 * are in use, as with many tokens in a step, the others give. The paper reads ahead into buffers beside the cache; here a
 * guess takes a slot.
 */
export class MixtralOffloading implements EvictionPolicy {
  readonly name = "mixtral-offloading";
  readonly #shape: PolicyShape;
  readonly #share: number;
  readonly #lastUsed = new Map<ExpertId, number>();
  /** By layer: its experts that have slots. */
  readonly #present: readonly Set<ExpertId>[];
  /** By layer: those beyond its share; undefined until somebody asks. */
  readonly #excess: (ReadonlySet<ExpertId> | undefined)[];

  constructor(shape: PolicyShape) {
    this.#shape = shape;
    this.#share = Math.floor(shape.slots / shape.layers);
    this.#present = Array.from({ length: shape.layers }, () => new Set());
    this.#excess = Array.from({ length: shape.layers });
  }

  used(expert: ExpertId, { tick }: Moment): void {
    this.#lastUsed.set(expert, tick);
    this.#changed(expert);
  }

  entered(expert: ExpertId, { tick }: Moment): void {
    this.#present[this.#layerOf(expert)]!.add(expert);
    // What was read ahead is as recent as a use.
    this.#lastUsed.set(expert, tick);
    this.#changed(expert);
  }

  left(expert: ExpertId): void {
    this.#present[this.#layerOf(expert)]!.delete(expert);
    this.#changed(expert);
  }

  worth(expert: ExpertId, { tick, layer: running }: Moment): number {
    const layer = this.#layerOf(expert);
    const recency = (this.#lastUsed.get(expert) ?? 0) / (tick + 1);
    if (this.#excessOf(layer).has(expert)) return recency;
    return layer === (running + 1) % this.#shape.layers ? 2 + recency : 4 + recency;
  }

  #excessOf(layer: number): ReadonlySet<ExpertId> {
    const known = this.#excess[layer];
    if (known) return known;
    const last = (expert: ExpertId) => this.#lastUsed.get(expert) ?? 0;
    const oldestFirst = [...this.#present[layer]!].sort((a, b) => last(a) - last(b));
    const excess = new Set(oldestFirst.slice(0, Math.max(0, oldestFirst.length - this.#share)));
    this.#excess[layer] = excess;
    return excess;
  }

  #changed(expert: ExpertId): void {
    this.#excess[this.#layerOf(expert)] = undefined;
  }

  #layerOf(expert: ExpertId): number {
    return Math.floor(expert / this.#shape.experts);
  }
}
