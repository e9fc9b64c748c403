import type { ExpertShape } from "./policy.ts";

/** A stored map and how like it is: the cosine, from -1 to 1. */
export interface MapMatch {
  /** F32 [layers][experts] */
  readonly map: Float32Array;
  readonly score: number;
}

/** How like the stored maps are what an iteration has shown so far. */
export interface MapSearch {
  readonly embedding: Float32Array;
  /** F32 [layers][experts], filled as layers are seen. */
  readonly map: Float32Array;
  /** Of each stored map: the cosine of the embeddings. */
  readonly semantic: Float32Array;
  /** Of each stored map: the product with the layers seen so far. */
  readonly products: Float32Array;
  /** Layers seen so far, and the sum of their squares. */
  layers: number;
  square: number;
  /** Maps that were added before it began. */
  readonly since: number;
}

/**
 * The store of expert maps of fMoE (arXiv 2502.05370, sections 4.1 and 4.4): what routers said of all experts in past
 * iterations, found by embedding or by what the first layers said. The search is exact; a layer's share is added to the
 * products when it comes, so that each layer costs one pass over one layer of the maps.
 */
export class ExpertMaps {
  readonly #shape: ExpertShape;
  readonly #most: number;
  /** Share of the semantic similarity in redundancy: layers that it serves, d / L. */
  readonly #semanticShare: number;
  readonly #maps: Float32Array[] = [];
  readonly #embeddings: Float32Array[] = [];
  /** Of each map: the norm of its first layers, by their number. */
  readonly #norms: Float32Array[] = [];
  /** Of each map: how many were added before. */
  readonly #since: number[] = [];
  #added = 0;

  /**
   * @param most maps that are kept
   * @param distance layers that the embedding serves
   */
  constructor(shape: ExpertShape, { most, distance }: { most: number; distance: number }) {
    this.#shape = shape;
    this.#most = most;
    this.#semanticShare = Math.min(1, distance / shape.layers);
  }

  get size(): number {
    return this.#maps.length;
  }

  /** An iteration begins. @param embedding of length 1, as all of the store */
  begin(embedding: Float32Array): MapSearch {
    const { layers, experts } = this.#shape;
    return {
      embedding,
      map: new Float32Array(layers * experts),
      semantic: Float32Array.from(this.#embeddings, (stored) => dot(embedding, stored, 0, embedding.length)),
      products: new Float32Array(this.size),
      layers: 0,
      square: 0,
      since: this.#added,
    };
  }

  /** The next layer of an iteration was seen. @param probabilities F32 [experts] */
  see(search: MapSearch, probabilities: Float32Array): void {
    const { experts } = this.#shape;
    const first = search.layers * experts;
    search.map.set(probabilities, first);
    for (const [index, map] of this.#maps.entries()) {
      if (index >= search.products.length) break;
      search.products[index]! += dot(search.map, map, first, first + experts);
    }
    search.square += dot(search.map, search.map, first, first + experts);
    search.layers++;
  }

  /** The map whose embedding is most like this one's; of equals, the latest. */
  bySemantic(search: MapSearch): MapMatch | undefined {
    return this.#best(search.semantic.length, (index) => search.semantic[index]!);
  }

  /** The map whose first layers are most like what was seen. */
  byTrajectory(search: MapSearch): MapMatch | undefined {
    return this.#best(search.products.length, (index) => this.#trajectory(search, index));
  }

  /** Keeps the map of an iteration that is over: in a full store, in the place of the one most like it. */
  add(search: MapSearch): void {
    const index = this.size < this.#most ? this.size : this.#redundant(search);
    this.#maps[index] = search.map;
    this.#embeddings[index] = search.embedding;
    this.#norms[index] = this.#normsOf(search.map);
    this.#since[index] = this.#added++;
  }

  #trajectory(search: MapSearch, index: number): number {
    const norms = this.#norms[index]![search.layers]! * Math.sqrt(search.square);
    return norms > 0 ? search.products[index]! / norms : 0;
  }

  /** RDY of the paper: d/L semantic + (L - d)/L trajectory. Of maps that came since the search began, nothing is known: they stay. */
  #redundant(search: MapSearch): number {
    const share = this.#semanticShare;
    let most = Number.NEGATIVE_INFINITY;
    let found = 0;
    for (let index = 0; index < search.products.length; index++) {
      if (this.#since[index]! >= search.since) continue;
      const redundancy = share * search.semantic[index]! + (1 - share) * this.#trajectory(search, index);
      if (redundancy <= most) continue;
      [most, found] = [redundancy, index];
    }
    return found;
  }

  #best(count: number, scoreOf: (index: number) => number): MapMatch | undefined {
    let best: number | undefined;
    let score = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < count; index++) {
      const its = scoreOf(index);
      if (its < score) continue;
      if (its === score && this.#since[index]! < this.#since[best!]!) continue;
      [best, score] = [index, its];
    }
    return best === undefined ? undefined : { map: this.#maps[best]!, score };
  }

  #normsOf(map: Float32Array): Float32Array {
    const { layers, experts } = this.#shape;
    const norms = new Float32Array(layers + 1);
    let square = 0;
    for (let layer = 0; layer < layers; layer++) {
      square += dot(map, map, layer * experts, (layer + 1) * experts);
      norms[layer + 1] = Math.sqrt(square);
    }
    return norms;
  }
}

function dot(a: Float32Array, b: Float32Array, first: number, end: number): number {
  let sum = 0;
  for (let index = first; index < end; index++) sum += a[index]! * b[index]!;
  return sum;
}
