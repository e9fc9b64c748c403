import type { ExpertShape } from "./policy.ts";

/** Counts of a token are halved here, to stay in 8 bits and to forget. */
const mostCounted = 254;

/** How often each expert was used on the occasions of some token, and how many those were. */
export interface TokenCounts {
  tokens: number;
  /** U8 [layers][experts] */
  readonly uses: Uint8Array;
}

/** Counts of experts' uses by token id. The token that is longest ago is forgotten first. */
export class TokenUses {
  readonly #shape: ExpertShape;
  readonly #most: number;
  /** The one that is longest ago first. */
  readonly #counts = new Map<number, TokenCounts>();

  /** @param mostBytes of all counts together */
  constructor(shape: ExpertShape, mostBytes: number) {
    this.#shape = shape;
    this.#most = Math.max(1, Math.floor(mostBytes / (shape.layers * shape.experts)));
  }

  of(token: number | undefined): TokenCounts | undefined {
    return token === undefined ? undefined : this.#counts.get(token);
  }

  /** On an occasion of the token, a layer used these experts. Layers come in their order; with the last, it is over. */
  count(token: number, layer: number, chosen: ArrayLike<number>): void {
    const { layers, experts } = this.#shape;
    const counts = this.#touch(token);
    for (let rank = 0; rank < chosen.length; rank++) counts.uses[layer * experts + chosen[rank]!]!++;
    if (layer === layers - 1 && ++counts.tokens >= mostCounted) halve(counts);
  }

  #touch(token: number): TokenCounts {
    const { layers, experts } = this.#shape;
    const found = this.#counts.get(token) ?? { tokens: 0, uses: new Uint8Array(layers * experts) };
    this.#counts.delete(token);
    this.#counts.set(token, found);
    if (this.#counts.size > this.#most) this.#counts.delete(this.#counts.keys().next().value!);
    return found;
  }
}

function halve(counts: TokenCounts): void {
  const { uses } = counts;
  for (let expert = 0; expert < uses.length; expert++) uses[expert]! >>= 1;
  counts.tokens >>= 1;
}
