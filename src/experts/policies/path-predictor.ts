import type { ExpertShape, RoutedLayer } from "./policy.ts";
import { TokenUses } from "./token-uses.ts";

/** For what each word used. */
const mostBytes = 16 * 2 ** 20;
/** What the layer before says weighs as much as so many occasions of the word. */
const priorOccasions = 1;
/** Counts of a transition are halved here, to forget. */
const mostCounted = 4096;

/**
 * Guesses the experts of a token in every layer by its word and, layer after layer, by the experts of the layer before: of a
 * word that was seen often, its own history decides; of a new one, what usually follows. Learns from what routers choose.
 */
export class PathPredictor {
  readonly #shape: ExpertShape & { readonly used: number };
  readonly #words: TokenUses;
  /** [layers][experts]: tokens that used it, at the layer before for transitions. */
  readonly #uses: Float32Array;
  /** [layers][experts of the layer before][experts]: how often the second was used with the first. */
  readonly #after: Float32Array;
  readonly #scores: Float32Array;
  /** Of the tokens of the layer that was seen last: their experts. */
  #before: readonly ArrayLike<number>[] = [];

  constructor(shape: ExpertShape & { readonly used: number }) {
    const { layers, experts } = shape;
    this.#shape = shape;
    this.#words = new TokenUses(shape, mostBytes);
    this.#uses = new Float32Array(layers * experts);
    this.#after = new Float32Array(layers * experts * experts);
    this.#scores = new Float32Array(experts);
  }

  /** Learns what a layer's router chose. */
  routed({ layer, tokens }: RoutedLayer): void {
    // Of a prompt, the last layer may be run for its last token alone.
    const follows = layer > 0 && this.#before.length === tokens.length;
    tokens.forEach(({ token, chosen }, index) => {
      this.learn(token, layer, chosen, follows ? this.#before[index] : undefined);
    });
    this.#before = tokens.map(({ chosen }) => Array.from(chosen));
  }

  /** What a token used at a layer. Layers come in order. @param before its experts of the layer before; undefined at the first */
  learn(
    token: number,
    layer: number,
    chosen: ArrayLike<number>,
    before: ArrayLike<number> | undefined,
  ): void {
    const { experts } = this.#shape;
    this.#words.count(token, layer, chosen);
    for (let rank = 0; rank < chosen.length; rank++) this.#uses[layer * experts + chosen[rank]!]!++;
    if (!before) return;
    for (let from = 0; from < before.length; from++) {
      const first = (layer * experts + before[from]!) * experts;
      for (let rank = 0; rank < chosen.length; rank++) this.#after[first + chosen[rank]!]!++;
      if (this.#uses[(layer - 1) * experts + before[from]!]! >= mostCounted)
        this.#halve(layer - 1, before[from]!);
    }
  }

  /**
   * The experts of a token at a layer, the likeliest first, as many as a router chooses; fewer where nothing was seen.
   * @param before those of the layer before, seen or guessed; undefined at the first
   */
  guess(token: number, layer: number, before: readonly number[] | undefined): number[] {
    const { experts, used } = this.#shape;
    const scores = this.#scores.fill(0);
    for (const from of before ?? []) {
      const uses = this.#uses[(layer - 1) * experts + from]!;
      const weight = priorOccasions / ((uses + 1) * before!.length);
      const first = (layer * experts + from) * experts;
      for (let expert = 0; expert < experts; expert++)
        scores[expert]! += weight * this.#after[first + expert]!;
    }
    const word = this.#words.of(token)?.uses.subarray(layer * experts, (layer + 1) * experts);
    word?.forEach((uses, expert) => {
      scores[expert]! += uses;
    });
    const found = Array.from({ length: experts }, (_, expert) => expert).filter(
      (expert) => scores[expert]! > 0,
    );
    return found.sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, used);
  }

  /** The whole path of a token: experts by layer. */
  path(token: number): number[][] {
    const path: number[][] = [];
    for (let layer = 0; layer < this.#shape.layers; layer++)
      path.push(this.guess(token, layer, path[layer - 1]));
    return path;
  }

  /** Forgets half of what an expert was used with, and what followed it. */
  #halve(layer: number, expert: number): void {
    const { experts } = this.#shape;
    this.#uses[layer * experts + expert]! /= 2;
    const first = ((layer + 1) * experts + expert) * experts;
    for (let next = first; next < first + experts; next++) this.#after[next]! /= 2;
  }
}
