import type { ExpertShape } from "./policy.ts";

/** Of all maps together, bytes: models of very many experts keep fewer. */
const mostBytes = 64 * 2 ** 20;
/** What is less probable adds next to nothing to a product: those of probabilities are right to three places. */
const leastFactor = 1e-3;

/** A stored map and how like it is: the cosine, from -1 to 1. */
export interface MapMatch {
  readonly index: number;
  readonly score: number;
}

/** How like the stored maps are what an iteration has shown so far. */
export interface MapSearch {
  /** F32 [width], of length 1. */
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
 * The store of expert maps of fMoE (arXiv 2502.05370): what routers said of all experts in past iterations, found by
 * embedding or by what the first layers said. The search goes through all maps; a layer's share is added to the products
 * when it comes, so that each layer costs one pass over one layer of the maps.
 */
export class ExpertMaps {
  readonly most: number;
  readonly #shape: ExpertShape;
  readonly #width: number;
  /** Share of the semantic similarity in redundancy: d / L. */
  readonly #semanticShare: number;
  /** F32 [width + layers * experts][most]: the embedding and the map of each iteration are a column. */
  readonly #columns: Float32Array;
  /** F32 [layers + 1][most]: the norm of the first layers, by their number. */
  readonly #norms: Float32Array;
  /** Of each map: how many were added before. */
  readonly #since: Float64Array;
  #size = 0;
  #added = 0;

  /**
   * @param most maps that are kept
   * @param distance layers that the embedding serves
   * @param width of embeddings
   */
  constructor(shape: ExpertShape, options: { most: number; distance: number; width: number }) {
    const { layers, experts } = shape;
    const rows = options.width + layers * experts;
    this.#shape = shape;
    this.#width = options.width;
    this.#semanticShare = Math.min(1, options.distance / layers);
    this.most = Math.max(1, Math.min(options.most, Math.floor(mostBytes / (4 * rows))));
    this.#columns = new Float32Array(rows * this.most);
    this.#norms = new Float32Array((layers + 1) * this.most);
    this.#since = new Float64Array(this.most);
  }

  get size(): number {
    return this.#size;
  }

  /** An iteration begins. */
  begin(embedding: Float32Array): MapSearch {
    const { layers, experts } = this.#shape;
    const semantic = new Float32Array(this.#size);
    this.#multiply(embedding, 0, semantic, 0);
    return {
      embedding,
      map: new Float32Array(layers * experts),
      semantic,
      products: new Float32Array(this.#size),
      layers: 0,
      square: 0,
      since: this.#added,
    };
  }

  /** The next layer of an iteration was seen. @param probabilities F32 [experts] */
  see(search: MapSearch, probabilities: Float32Array): void {
    const first = search.layers * this.#shape.experts;
    search.map.set(probabilities, first);
    this.#multiply(probabilities, this.#width + first, search.products, leastFactor);
    for (const value of probabilities) search.square += value * value;
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

  /** What a stored map says of a layer. @returns F32 [experts] */
  probabilities({ index }: MapMatch, layer: number): Float32Array {
    const { experts } = this.#shape;
    const first = this.#width + layer * experts;
    return Float32Array.from(
      { length: experts },
      (_, expert) => this.#columns[(first + expert) * this.most + index]!,
    );
  }

  /** Keeps the map of an iteration that is over: in a full store, in the place of the one most like it. */
  add(search: MapSearch): void {
    const index = this.#size < this.most ? this.#size++ : this.#redundant(search);
    this.#put(index, search.embedding, search.map);
    this.#since[index] = this.#added++;
  }

  /** Embeddings and maps, F32 [width + layers * experts][size]. */
  bytes(): Uint8Array {
    const { most, size } = this;
    const rows = this.#columns.length / most;
    const values = new Float32Array(rows * size);
    for (let row = 0; row < rows; row++)
      values.set(this.#columns.subarray(row * most, row * most + size), row * size);
    return new Uint8Array(values.buffer);
  }

  /** Has the maps of these bytes in the place of its own. @returns false where they are not such, and nothing is changed */
  restore(bytes: Uint8Array): boolean {
    const { most } = this;
    const rows = this.#columns.length / most;
    const size = bytes.length / (4 * rows);
    if (!Number.isInteger(size) || size > most) return false;
    const values = new Float32Array(new Uint8Array(bytes).buffer);
    if (!values.every((value) => Math.abs(value) <= 1)) return false;
    for (let index = 0; index < size; index++) {
      const column = Float32Array.from({ length: rows }, (_, row) => values[row * size + index]!);
      this.#put(index, column.subarray(0, this.#width), column.subarray(this.#width));
      this.#since[index] = index;
    }
    this.#size = size;
    this.#added = size;
    return true;
  }

  #put(index: number, embedding: Float32Array, map: Float32Array): void {
    const { layers, experts } = this.#shape;
    for (let row = 0; row < this.#width; row++) this.#columns[row * this.most + index] = embedding[row]!;
    let square = 0;
    for (let layer = 0; layer < layers; layer++) {
      for (let expert = layer * experts; expert < (layer + 1) * experts; expert++) {
        const value = map[expert]!;
        square += value * value;
        this.#columns[(this.#width + expert) * this.most + index] = value;
      }
      this.#norms[(layer + 1) * this.most + index] = Math.sqrt(square);
    }
  }

  #trajectory({ layers, square, products }: MapSearch, index: number): number {
    const norms = this.#norms[layers * this.most + index]! * Math.sqrt(square);
    return norms > 0 ? products[index]! / norms : 0;
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
    let best = -1;
    let score = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < count; index++) {
      const its = scoreOf(index);
      if (its < score) continue;
      if (its === score && this.#since[index]! < this.#since[best]!) continue;
      best = index;
      score = its;
    }
    return best < 0 ? undefined : { index: best, score };
  }

  /**
   * Adds to each map's sum its rows from `first` on times these factors, four rows in a pass: twice as fast as one map
   * after the other.
   */
  #multiply(factors: Float32Array, first: number, sums: Float32Array, least: number): void {
    const rows: number[] = [];
    for (let row = 0; row < factors.length; row++) if (Math.abs(factors[row]!) >= least) rows.push(row);
    const columns = this.#columns;
    const count = sums.length;
    for (let next = 0; next < rows.length; next += 4) {
      const row = (offset: number) => rows[next + offset];
      const factor = (offset: number) => (next + offset < rows.length ? factors[rows[next + offset]!]! : 0);
      const start = (offset: number) => (first + (row(offset) ?? 0)) * this.most;
      const [a, b, c, d] = [start(0), start(1), start(2), start(3)];
      const [fa, fb, fc, fd] = [factor(0), factor(1), factor(2), factor(3)];
      for (let at = 0; at < count; at++)
        sums[at]! +=
          fa * columns[a + at]! + fb * columns[b + at]! + fc * columns[c + at]! + fd * columns[d + at]!;
    }
  }
}
