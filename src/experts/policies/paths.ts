import type { ExpertId, GuessedLayer, PolicyShape, RoutedLayer, StepToken } from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";
import { TokenUses } from "./token-uses.ts";

/** For what each word used. */
const mostBytes = 16 * 2 ** 20;
/** Likelihoods by word are told apart so finely. */
const bins = 10;
/** An expert that is less likely to be used costs more, by the read and by who leaves for it, than it saves. */
const leastLikely = 0.4;
/** Before anything was seen: how often an expert of the next gate's choice is used. */
const startingHits = 6;
const startingGuesses = 10;

/**
 * Reads ahead what two predictors together say. A word uses much the same experts whenever it comes, so the whole path of a
 * token is known by its id when a step begins, its first layer too (ExpertFlow, arXiv 2410.17954, predicts paths by a
 * network that is trained before); and the next layer's router, run a layer before its time, corrects it (see
 * `next-gate.ts`). How far either is to be believed is counted: by the rank that the next gate gives an expert and by how
 * often the word used it, how often it was used then.
 */
export class Paths implements PrefetchPolicy {
  readonly name = "paths";
  readonly sees = ["next-gate"] as const;
  readonly #shape: PolicyShape;
  readonly #words: TokenUses;
  /** How likely the current tokens use each expert, by their ids; from 0 to 1. */
  readonly #byWord: Float32Array;
  /** The next gate's rank of each expert, from 1 on; 0 where it does not name it. */
  readonly #ranks: Uint8Array;
  /** By rank and bin of the likelihood by word: experts that were so, and those of them that were used. */
  readonly #seen: Float32Array;
  readonly #used: Float32Array;
  /** By layer: what is wanted of it. */
  #wanted: ExpertId[][] = [];

  constructor(shape: PolicyShape) {
    const { layers, experts, used } = shape;
    this.#shape = shape;
    this.#words = new TokenUses(shape, mostBytes);
    this.#byWord = new Float32Array(layers * experts);
    this.#ranks = new Uint8Array(layers * experts);
    this.#seen = new Float32Array((used + 1) * (bins + 1));
    this.#used = new Float32Array(this.#seen.length);
    for (let cell = bins + 1; cell < this.#seen.length; cell++) {
      this.#seen[cell] = startingGuesses;
      this.#used[cell] = startingHits;
    }
  }

  began(tokens: readonly StepToken[]): Wanted {
    this.#byWord.fill(0);
    this.#ranks.fill(0);
    for (const { token } of tokens) this.#expect(token);
    this.#wanted = Array.from({ length: this.#shape.layers }, (_, layer) => this.#likely(layer));
    return this.#from(0);
  }

  guessed({ layer, experts }: GuessedLayer): Wanted {
    const first = layer * this.#shape.experts;
    // Of several tokens, ranks beyond a token's own number of experts are all the last.
    experts.forEach((expert, rank) => {
      this.#ranks[first + expert] = Math.min(rank + 1, this.#shape.used);
    });
    this.#wanted[layer] = this.#likely(layer);
    return this.#from(layer);
  }

  routed({ layer, decoding, tokens }: RoutedLayer): Wanted {
    if (decoding) this.#account(layer, tokens);
    for (const { token, chosen } of tokens) this.#words.count(token, layer, chosen);
    return undefined;
  }

  /** One token more that uses what its word does. */
  #expect(token: number): void {
    const counts = this.#words.of(token);
    if (!counts || counts.tokens === 0) return;
    const { uses, tokens } = counts;
    for (let expert = 0; expert < uses.length; expert++) {
      if (uses[expert]! === 0) continue;
      // One occasion tells less than many.
      const likelihood = Math.min(1, uses[expert]! / (tokens + 0.5));
      this.#byWord[expert] = 1 - (1 - this.#byWord[expert]!) * (1 - likelihood);
    }
  }

  /** The experts of a layer that are likely enough, the likeliest first. */
  #likely(layer: number): ExpertId[] {
    const { experts } = this.#shape;
    const found: [ExpertId, number][] = [];
    for (let id = layer * experts; id < (layer + 1) * experts; id++) {
      const cell = this.#cellOf(id);
      if (cell === 0) continue;
      const likelihood = this.#used[cell]! / (this.#seen[cell]! + 1);
      if (likelihood >= leastLikely) found.push([id, likelihood]);
    }
    return found.sort((a, b) => b[1] - a[1]).map(([id]) => id);
  }

  #from(layer: number): ExpertId[] {
    return this.#wanted.slice(layer).flat();
  }

  /** Counts what came of what was said of a layer's experts. */
  #account(layer: number, tokens: RoutedLayer["tokens"]): void {
    const first = layer * this.#shape.experts;
    for (let id = first; id < first + this.#shape.experts; id++) this.#seen[this.#cellOf(id)]!++;
    const chosen = new Set<number>();
    for (const token of tokens)
      for (let rank = 0; rank < token.chosen.length; rank++) chosen.add(token.chosen[rank]!);
    for (const expert of chosen) this.#used[this.#cellOf(first + expert)]!++;
  }

  /** 0 where nobody names the expert. */
  #cellOf(id: ExpertId): number {
    return this.#ranks[id]! * (bins + 1) + Math.ceil(this.#byWord[id]! * bins);
  }
}
