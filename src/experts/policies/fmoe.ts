import { ExpertMaps, type MapMatch, type MapSearch } from "./expert-maps.ts";
import type {
  EvictionPolicy,
  ExpertId,
  Learner,
  Moment,
  PolicyShape,
  RoutedLayer,
  RoutedToken,
  StepToken,
} from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";
import { embeddingWidth, meanEmbedding } from "./token-embeddings.ts";

/** Maps that are kept, C of the paper. */
const storedMaps = 1000;
/** An expert that nothing is known of has some probability: its uses count. */
const leastProbability = 1e-6;

/** One request in a step: the map that it is about to draw, compared with the stored ones. */
interface Iteration {
  readonly search: MapSearch;
  /** By layer: the experts to read ahead and their probability in the map that was found. */
  readonly wanted: Map<number, readonly Expected[]>;
}

interface Expected {
  readonly expert: ExpertId;
  readonly probability: number;
}

/**
 * fMoE, as FineMoE at EuroSys 2026 (arXiv 2502.05370). An expert map holds what the routers of all layers said of all
 * experts in one iteration, a step of one request. What the present iteration will use is read off the stored map most
 * like it: for the first layers by the embedding of its tokens, for layer l + d by what the layers up to l have said.
 * How well it matches says how many experts to read ahead: few of a good match, many of a poor one. An expert leaves
 * first that is improbable and was used seldom; recency is left out on purpose.
 *
 * As in the public code, not the paper's text: an iteration's embedding is that of the tokens it runs, in decoding of
 * the current one, not of the whole prompt. As in the paper, not the public code: how many experts are taken, their
 * priority p / (l - l_now), and one layer a search. Unlike both: prompts leave no maps, for they need nearly all experts.
 */
export class Fmoe implements EvictionPolicy, PrefetchPolicy, Learner {
  readonly name = "fmoe";
  readonly sees = ["probabilities"] as const;
  readonly #shape: PolicyShape;
  /** d of the paper: how many layers ahead of its use an expert is asked for. */
  readonly #distance: number;
  readonly #maps: ExpertMaps;
  /** Of each expert: its probability, as found for layers to come and as seen for the others. */
  readonly #probabilities: Float32Array;
  /** Of each expert: how often decode steps used it. */
  readonly #uses: Uint32Array;
  #iterations = new Map<number, Iteration>();

  constructor(shape: PolicyShape) {
    const { layers, experts } = shape;
    this.#shape = shape;
    this.#distance = prefetchDistance(layers);
    this.#maps = new ExpertMaps(shape, {
      most: storedMaps,
      distance: this.#distance,
      width: embeddingWidth,
    });
    this.#probabilities = new Float32Array(layers * experts);
    this.#uses = new Uint32Array(layers * experts);
  }

  began(tokens: readonly StepToken[], now: Moment): Wanted {
    this.#iterations = new Map();
    for (const [request, its] of byRequest(tokens)) {
      const search = this.#maps.begin(meanEmbedding(its, this.#shape));
      const iteration: Iteration = { search, wanted: new Map() };
      this.#iterations.set(request, iteration);
      const match = this.#maps.bySemantic(search);
      for (let layer = 0; layer < this.#distance; layer++) this.#expect(iteration, layer, match);
    }
    for (let layer = 0; layer < this.#distance; layer++) this.#believe(layer);
    return this.#wanted(now);
  }

  routed({ layer, decoding, tokens }: RoutedLayer, now: Moment): Wanted {
    if (!decoding) return undefined;
    const ahead = layer + this.#distance;
    const last = layer === this.#shape.layers - 1;
    const seen = this.#probabilities.subarray(layer * this.#shape.experts, (layer + 1) * this.#shape.experts);
    seen.fill(0);
    for (const [request, its] of byRequest(tokens)) {
      const iteration = this.#iterations.get(request);
      const probabilities = meanProbabilities(its, this.#shape);
      for (let expert = 0; expert < seen.length; expert++)
        seen[expert] = Math.max(seen[expert]!, probabilities[expert]!);
      if (!iteration || iteration.search.layers !== layer) continue;
      this.#maps.see(iteration.search, probabilities);
      if (last) this.#maps.add(iteration.search);
      else if (ahead < this.#shape.layers)
        this.#expect(iteration, ahead, this.#maps.byTrajectory(iteration.search));
    }
    if (ahead < this.#shape.layers) this.#believe(ahead);
    return this.#wanted(now);
  }

  used(expert: ExpertId): void {
    this.#uses[expert]!++;
  }

  entered(): void {}
  left(): void {}

  /** The paper evicts the largest 1 / (p · freq). */
  worth(expert: ExpertId): number {
    return (this.#probabilities[expert]! + leastProbability) * this.#uses[expert]!;
  }

  /** Uses of each expert, U32; then the maps. */
  learnt(): Uint8Array {
    return Buffer.concat([bytesOf(this.#uses), this.#maps.bytes()]);
  }

  restore(learnt: Uint8Array): void {
    const { byteLength } = this.#uses;
    if (this.#maps.restore(learnt.subarray(byteLength)))
      bytesOf(this.#uses).set(learnt.subarray(0, byteLength));
  }

  /** Expects of a layer the experts of a map by falling probability, until they sum up to δ = clip(1 - score, 0, 1), and K at least. */
  #expect({ wanted }: Iteration, layer: number, match: MapMatch | undefined): void {
    if (!match) return;
    const { experts, used } = this.#shape;
    const threshold = Math.min(1, Math.max(0, 1 - match.score));
    const ranked = Array.from(this.#maps.probabilities(match, layer), (probability, expert) => ({
      expert: layer * experts + expert,
      probability,
    }));
    ranked.sort((a, b) => b.probability - a.probability);
    let sum = 0;
    let count = 0;
    while (count < experts && (count < used || sum < threshold)) sum += ranked[count++]!.probability;
    wanted.set(layer, ranked.slice(0, count));
  }

  /** Until a layer comes, its experts are as probable as the maps that were found say. */
  #believe(layer: number): void {
    const expected = [...this.#iterations.values()].flatMap(({ wanted }) => wanted.get(layer) ?? []);
    if (expected.length === 0) return;
    const { experts } = this.#shape;
    this.#probabilities.fill(0, layer * experts, (layer + 1) * experts);
    for (const { expert, probability } of expected)
      this.#probabilities[expert] = Math.max(this.#probabilities[expert]!, probability);
  }

  /** Everything that is expected of layers to come, by falling p / (l - l_now). */
  #wanted({ layer: now }: Moment): ExpertId[] {
    const priorities = new Map<ExpertId, number>();
    for (const { wanted } of this.#iterations.values()) {
      for (const [layer, expected] of wanted) {
        if (layer <= now) continue;
        for (const { expert, probability } of expected)
          priorities.set(expert, Math.max(priorities.get(expert) ?? 0, probability / (layer - now)));
      }
    }
    return [...priorities].sort((a, b) => b[1] - a[1]).map(([expert]) => expert);
  }
}

/** 3 of Mixtral's 32 layers in the paper; of shallow models the same share. */
function prefetchDistance(layers: number): number {
  return Math.min(layers, Math.max(1, Math.round((3 * layers) / 32)));
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function byRequest<Token extends StepToken>(tokens: readonly Token[]): Map<number, Token[]> {
  const found = new Map<number, Token[]>();
  for (const token of tokens) {
    const its = found.get(token.request);
    if (its) its.push(token);
    else found.set(token.request, [token]);
  }
  return found;
}

/** What a router said of all experts, as a mean over the tokens. Where that is not known, of those chosen. */
function meanProbabilities(tokens: readonly RoutedToken[], { experts }: PolicyShape): Float32Array {
  const mean = new Float32Array(experts);
  for (const { probabilities, chosen } of tokens) {
    if (probabilities)
      for (let expert = 0; expert < experts; expert++) mean[expert]! += probabilities[expert]!;
    else for (let rank = 0; rank < chosen.length; rank++) mean[chosen[rank]!]! += 1 / chosen.length;
  }
  return tokens.length === 1 ? mean : mean.map((sum) => sum / tokens.length);
}
