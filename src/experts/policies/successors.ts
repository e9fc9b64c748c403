import type {
  EvictionPolicy,
  ExpertId,
  Moment,
  PolicyShape,
  RoutedLayer,
  RoutedToken,
  StepToken,
} from "./policy.ts";
import { type TokenCounts, TokenUses } from "./token-uses.ts";

/** After so many tokens a use counts half, in each of the averages. */
const halfLives = [1, 3, 10, 40, 200];
const averages = halfLives.length;
/** What is left of each average after a token. */
const keeps = halfLives.map((halfLife) => 2 ** (-1 / halfLife));
/** Averages, share of all uses, uses after the current token, and 1. */
const featureCount = averages + 3;
/** An expert that is used within so many tokens is worth its slot: about as long as slots are kept. */
const horizon = 3;
/** Experts that are watched after a layer, to learn from. */
const watchedALayer = 2;
/** For what followed each token. The token that is longest ago is forgotten first. */
const mostBytes = 16 * 2 ** 20;
/** The latest token of a request. */
interface Latest {
  readonly token: number;
  readonly position: number;
  readonly before: number | undefined;
}

/** An expert whose next uses are waited for, to see whether the estimate was right. */
interface Watched {
  readonly expert: number;
  readonly features: Float32Array;
  readonly kind: "later" | "next";
  /** Tokens of the layer that are still to come. */
  left: number;
}

/**
 * Evicts the expert that is least likely to be used within the next few tokens. The estimate is a logistic regression that
 * learns while it runs, over averages of an expert's uses of several half-lives, its share of all uses, and how often it
 * was used after the token that came last: what a word is followed by says more of the next experts than
 * what they were. Ours; closest to it are fMoE's expert maps (arXiv 2502.05370), which are looked up by routing instead of by token.
 */
export class Successors implements EvictionPolicy {
  readonly name = "successors";
  readonly #experts: number;
  readonly #layers: number;
  /** [experts of all layers][half-lives]: those of an expert side by side, for every resident is looked at for each layer. */
  readonly #averages: Float32Array;
  /** Of all tokens: how often each expert was used, and how many there were. */
  readonly #uses: Float32Array;
  #tokens = 1;
  /** Uses of experts by the token after some token. */
  readonly #followers: TokenUses;
  readonly #latest = new Map<number, Latest>();
  /** What followed the tokens before the current ones, for layers that come later, and what followed the current ones. */
  #after: Record<Watched["kind"], readonly TokenCounts[]> = { later: [], next: [] };
  readonly #watched: Watched[][];
  /** Of experts whose layer comes later for the current token, and of the others. */
  readonly #weights = { later: startingWeights(), next: startingWeights() };
  readonly #features = new Float32Array(featureCount);
  #updates = 0;
  #draw = 1;

  constructor({ layers, experts }: PolicyShape) {
    const count = layers * experts;
    this.#layers = layers;
    this.#experts = experts;
    this.#followers = new TokenUses({ layers, experts }, mostBytes);
    this.#averages = new Float32Array(count * halfLives.length);
    this.#uses = new Float32Array(count);
    this.#watched = Array.from({ length: layers }, () => []);
  }

  began(tokens: readonly StepToken[]): void {
    for (const token of tokens) this.#see(token);
    const latest = tokens.map(({ request }) => this.#latest.get(request)!);
    this.#after = {
      later: latest.map(({ before }) => this.#followers.of(before)).filter((found) => found !== undefined),
      next: latest.map(({ token }) => this.#followers.of(token)).filter((found) => found !== undefined),
    };
  }

  routed({ layer, decoding, tokens }: RoutedLayer): void {
    let last: RoutedToken | undefined;
    for (const token of tokens) {
      const before = last?.request === token.request ? last.token : this.#before(token);
      if (before !== undefined) this.#followers.count(before, layer, token.chosen);
      last = token;
      // What a prompt used says less of what its answer will use: its words count, not its recency.
      if (!decoding) continue;
      this.#learn(layer, token.chosen);
      this.#count(layer, token.chosen);
    }
    if (decoding) this.#watch(layer);
    else if (layer === this.#layers - 1) for (const token of tokens) this.#see(token);
  }

  used(): void {}
  entered(): void {}
  left(): void {}

  worth(expert: ExpertId, { layer }: Moment): number {
    const kind = this.#kindOf(expert, layer);
    this.#describe(expert, this.#after[kind], this.#features);
    return dot(this.#weights[kind], this.#features);
  }

  #see(token: StepToken): void {
    const { request, position } = token;
    this.#latest.set(request, { token: token.token, position, before: this.#before(token) });
  }

  /** The token before it in its request, which may have been seen with it. */
  #before({ request, position }: StepToken): number | undefined {
    const latest = this.#latest.get(request);
    if (latest?.position === position) return latest.before;
    return latest?.position === position - 1 ? latest.token : undefined;
  }

  #kindOf(expert: ExpertId, layer: number): Watched["kind"] {
    return expert >= (layer + 1) * this.#experts ? "later" : "next";
  }

  #describe(expert: ExpertId, after: readonly TokenCounts[], into: Float32Array): void {
    const share = this.#uses[expert]! / this.#tokens;
    const first = expert * averages;
    for (let index = 0; index < averages; index++) into[index] = this.#averages[first + index]!;
    into[averages] = share;
    let followed = after.length === 0 ? share : 0;
    for (const { uses, tokens } of after) followed += (uses[expert]! + share) / (tokens + 1) / after.length;
    into[averages + 1] = followed;
    into[averages + 2] = 1;
  }

  #count(layer: number, chosen: ArrayLike<number>): void {
    const first = layer * this.#experts;
    for (let index = 0; index < averages; index++) {
      const keep = keeps[index]!;
      for (let expert = first; expert < first + this.#experts; expert++) {
        this.#averages[expert * averages + index]! *= keep;
      }
      for (let rank = 0; rank < chosen.length; rank++) {
        this.#averages[(first + chosen[rank]!) * averages + index]! += 1 - keep;
      }
    }
    for (let rank = 0; rank < chosen.length; rank++) this.#uses[first + chosen[rank]!]!++;
    if (layer === this.#layers - 1) this.#tokens++;
  }

  /** Some experts, to be looked at again when their next chances have passed. */
  #watch(layer: number): void {
    for (let count = 0; count < watchedALayer; count++) {
      const id = this.#random() % this.#uses.length;
      const kind = this.#kindOf(id, layer);
      const features = new Float32Array(featureCount);
      this.#describe(id, this.#after[kind], features);
      const watched = this.#watched[Math.floor(id / this.#experts)]!;
      watched.push({ expert: id % this.#experts, features, kind, left: horizon });
    }
  }

  /** What a token's experts say of the estimates that were made of them. */
  #learn(layer: number, chosen: ArrayLike<number>): void {
    const watched = this.#watched[layer]!;
    for (let index = watched.length - 1; index >= 0; index--) {
      const entry = watched[index]!;
      let used = false;
      for (let rank = 0; rank < chosen.length; rank++) used ||= chosen[rank] === entry.expert;
      if (!used && --entry.left > 0) continue;
      watched.splice(index, 1);
      const weights = this.#weights[entry.kind];
      const error = (used ? 1 : 0) - 1 / (1 + Math.exp(-dot(weights, entry.features)));
      const rate = 0.5 / (1 + this.#updates++ / 50_000);
      for (let feature = 0; feature < featureCount; feature++) {
        weights[feature]! += rate * error * entry.features[feature]!;
      }
    }
  }

  /** The same draws for the same history. */
  #random(): number {
    this.#draw = (this.#draw * 48_271) % 2_147_483_647;
    return this.#draw;
  }
}

/** Before anything was learned: what was used lately, and what followed the token. */
function startingWeights(): Float32Array {
  const weights = new Float32Array(featureCount).fill(1);
  weights[featureCount - 2] = 4;
  weights[featureCount - 1] = -2;
  return weights;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < featureCount; index++) sum += a[index]! * b[index]!;
  return sum;
}
