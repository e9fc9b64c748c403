import type { EvictionPolicy, ExpertId, Moment, PolicyShape, RoutedLayer, StepToken } from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

/** Requests whose activations are kept. */
const storedRequests = 128;
/** What was never activated has some worth: layers and uses count. */
const least = 1e-6;

/** How often one request's tokens activated each expert. */
interface Activations {
  /** F32 [layers][experts] */
  readonly counts: Float32Array;
  /** Where its latest token stood. */
  position: number;
  /** When it was last of use. */
  at: number;
}

/**
 * MoE-Infinity (arXiv 2401.14361). A request activates a few experts again and again, and is like one that was before: the
 * L × E matrix of its activations so far is compared with those of other requests, by the mean cosine of their layers,
 * and the nearest says what is to come. Experts are read ahead by their share of a layer's activations there, times
 * 1 - (x - l) / (L + 1) for a layer x seen from layer l. The cache keeps what is worth most by
 * predicted share × uses × a layer's decay: first layers are kept rather than last ones, for which there is time to read.
 *
 * Unlike the paper: matrices of requests that still run are searched, too, since nothing tells that one is over; the
 * search is made once a step, for one token more changes a matrix little; and of a full store the request goes that was
 * neither run nor found for the longest time, where the paper drops the one most like the new.
 */
export class MoeInfinity implements EvictionPolicy, PrefetchPolicy {
  readonly name = "moe-infinity";
  readonly #shape: PolicyShape;
  readonly #requests = new Map<number, Activations>();
  /** Matrices of requests whose number was taken by another. */
  readonly #past: Activations[] = [];
  /** Of each expert: its share of its layer's activations, as the nearest requests say. */
  readonly #shares: Float32Array;
  readonly #uses: Uint32Array;
  #steps = 0;

  constructor(shape: PolicyShape) {
    this.#shape = shape;
    this.#shares = new Float32Array(shape.layers * shape.experts);
    this.#uses = new Uint32Array(shape.layers * shape.experts);
  }

  began(tokens: readonly StepToken[], now: Moment): Wanted {
    this.#steps++;
    this.#shares.fill(0);
    const running = new Set(tokens.map((token) => this.#of(token)));
    for (const activations of running) {
      const nearest = this.#nearest(activations);
      if (!nearest) continue;
      nearest.at = this.#steps;
      this.#expect(nearest.counts);
    }
    return this.#wanted(now);
  }

  routed({ layer, tokens, decoding }: RoutedLayer, now: Moment): Wanted {
    const { experts } = this.#shape;
    for (const token of tokens) {
      const { counts } = this.#of(token);
      for (let rank = 0; rank < token.chosen.length; rank++) counts[layer * experts + token.chosen[rank]!]!++;
    }
    return decoding ? this.#wanted(now) : undefined;
  }

  used(expert: ExpertId): void {
    this.#uses[expert]!++;
  }

  entered(): void {}
  left(): void {}

  worth(expert: ExpertId): number {
    const { layers, experts } = this.#shape;
    const decay = 1 - Math.floor(expert / experts) / (layers + 1);
    return decay * (this.#shares[expert]! + least) * this.#uses[expert]!;
  }

  /** The matrix of a token's request: a new one where its position has not risen. */
  #of({ request, position }: StepToken): Activations {
    const known = this.#requests.get(request);
    if (known && position >= known.position) {
      known.position = position;
      known.at = this.#steps;
      return known;
    }
    if (known) this.#past.push(known);
    const { layers, experts } = this.#shape;
    const fresh = { counts: new Float32Array(layers * experts), position, at: this.#steps };
    this.#requests.set(request, fresh);
    this.#forget();
    return fresh;
  }

  #forget(): void {
    while (this.#requests.size + this.#past.length > storedRequests) {
      const [request, oldest] = [...this.#requests].reduce((a, b) => (b[1].at < a[1].at ? b : a));
      const past = this.#past.reduce<Activations | undefined>(
        (a, b) => (a && a.at <= b.at ? a : b),
        undefined,
      );
      if (past && past.at <= oldest.at) this.#past.splice(this.#past.indexOf(past), 1);
      else this.#requests.delete(request);
    }
  }

  /** The other request whose activations are most like these. */
  #nearest(activations: Activations): Activations | undefined {
    let best: Activations | undefined;
    let score = 0;
    for (const other of [...this.#past, ...this.#requests.values()]) {
      if (other === activations) continue;
      const its = this.#likeness(activations.counts, other.counts);
      if (its > score) [best, score] = [other, its];
    }
    return best;
  }

  /** Mean cosine of the layers; of one that has no activations, 0. */
  #likeness(a: Float32Array, b: Float32Array): number {
    const { layers, experts } = this.#shape;
    let sum = 0;
    for (let layer = 0; layer < layers; layer++) {
      let [product, squareA, squareB] = [0, 0, 0];
      for (let expert = layer * experts; expert < (layer + 1) * experts; expert++) {
        const [x, y] = [a[expert]!, b[expert]!];
        product += x * y;
        squareA += x * x;
        squareB += y * y;
      }
      if (product > 0) sum += product / Math.sqrt(squareA * squareB);
    }
    return sum / layers;
  }

  /** One request more that will activate experts as these counts say. */
  #expect(counts: Float32Array): void {
    const { layers, experts } = this.#shape;
    for (let layer = 0; layer < layers; layer++) {
      const its = counts.subarray(layer * experts, (layer + 1) * experts);
      const sum = its.reduce((total, count) => total + count, 0);
      for (let expert = 0; expert < experts && sum > 0; expert++)
        this.#shares[layer * experts + expert]! += its[expert]! / sum;
    }
  }

  #wanted({ layer: now }: Moment): ExpertId[] {
    const { layers, experts } = this.#shape;
    const found: [ExpertId, number][] = [];
    for (let expert = (now + 1) * experts; expert < layers * experts; expert++) {
      const weight = 1 - (Math.floor(expert / experts) - now) / (layers + 1);
      if (this.#shares[expert]! > 0) found.push([expert, this.#shares[expert]! * weight]);
    }
    return found.sort((a, b) => b[1] - a[1]).map(([expert]) => expert);
  }
}
