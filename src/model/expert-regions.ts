import type { Backend } from "../ggml/backend.ts";
import { Buffer, tensorAlignment } from "../ggml/buffer.ts";
import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks } from "./blocks.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import type { Routing } from "./router.ts";

const floatBytes = 4;
const intBytes = 4;

/** Bytes that {@link ExpertRegions} holds for steps of at most `tokens` tokens. */
export function expertRegionBytes(h: Hyperparameters, tokens: number): number {
  return regionsOf(h, tokens).total;
}

/**
 * What the graphs of a layer hand to one another, out of reach of the working memory that they share: the router's
 * choice, the rows that go to the experts, and the experts' results.
 */
export class ExpertRegions {
  readonly #h: Hyperparameters;
  readonly #buffer: Buffer;
  readonly #regions: ReturnType<typeof regionsOf>;

  constructor(backend: Backend, h: Hyperparameters, maxTokens: number) {
    this.#h = h;
    this.#regions = regionsOf(h, maxTokens);
    this.#buffer = Buffer.allocate(backend.native, backend.hostBufferType, this.#regions.total);
  }

  /** Keeps what comes after the router. @returns where the ranking will be once the graph has run */
  keep({ scope }: Blocks, x: Tensor, normed: Tensor, routing: Routing): Int32Array {
    const { expertsUsed } = this.#h;
    const { context, graph } = scope;
    this.#buffer.placeAt(x, this.#regions.residual);
    this.#buffer.placeAt(normed, this.#regions.normed);
    this.#buffer.placeAt(routing.ranking, this.#regions.ranking);
    for (const kept of [x, normed, routing.ranking]) graph.expand(kept);
    const copy = this.weights(context, 0, normed.shape[1], expertsUsed);
    graph.expand(context.copy(routing.weights, copy));
    return routing.ranking.ints();
  }

  /** Keeps another ranking of all experts, [experts, tokens]. @returns where it will be */
  keepGuess({ graph }: Blocks["scope"], ranking: Tensor): Int32Array {
    this.#buffer.placeAt(ranking, this.#regions.guess);
    graph.expand(ranking);
    return ranking.ints();
  }

  /** Keeps the router's logits [experts, tokens]. @returns where they will be */
  keepLogits({ context, graph }: Blocks["scope"], logits: Tensor): Float32Array {
    const copy = this.#leaf(context, "F32", logits.shape.slice(0, 2), this.#regions.logits);
    graph.expand(context.copy(logits, copy));
    return copy.floats();
  }

  /** Keeps the stream after the experts, [width, tokens]. */
  keepStream({ graph }: Blocks["scope"], y: Tensor): void {
    this.#buffer.placeAt(y, this.#regions.stream);
    graph.expand(y);
  }

  /** The stream that was kept, [width, tokens]. */
  stream(context: Context, tokens: number): Tensor {
    return this.#leaf(context, "F32", [this.#h.width, tokens], this.#regions.stream);
  }

  /** x as it was before the experts, [width, tokens]. */
  residual(context: Context, tokens: number): Tensor {
    return this.#leaf(context, "F32", [this.#h.width, tokens], this.#regions.residual);
  }

  /** The experts' input; once they are through, their weighted sum. [width, tokens] */
  rows(context: Context, tokens: number): Tensor {
    return this.#leaf(context, "F32", [this.#h.width, tokens], this.#regions.normed);
  }

  /** Puts `sum` [width, 1, count] in the place of the rows of the tokens from `first` on. */
  placeSum(sum: Tensor, first: number): void {
    this.#buffer.placeAt(sum, this.#regions.normed + first * this.#h.width * floatBytes);
  }

  /** The chosen experts as the router ranked them, [expertsUsed, tokens]. */
  chosen(context: Context, tokens: number): Tensor {
    const { experts, expertsUsed } = this.#h;
    const ranking = this.#leaf(context, "I32", [experts, tokens], this.#regions.ranking);
    return context.view(ranking, [expertsUsed, tokens], [ranking.strides[1]], 0);
  }

  /** The router's weights of the tokens from `first` on, [1, expertsUsed, count]. */
  weights(context: Context, first: number, count: number, expertsUsed: number): Tensor {
    const offset = this.#regions.weights + first * expertsUsed * floatBytes;
    return this.#leaf(context, "F32", [1, expertsUsed, count], offset);
  }

  /** An index for each (token, rank) pair, or each pair by expert. */
  indices(context: Context, kind: "order" | "places" | "ids", first: number, count: number): Tensor {
    return this.#leaf(context, "I32", [count], this.#regions[kind] + first * intBytes);
  }

  /** The results of `count` pairs, [width, count]. */
  results(context: Context, count: number): Tensor {
    return this.#leaf(context, "F32", [this.#h.width, count], this.#regions.results);
  }

  /** Puts an expert's results where its first pair stands. */
  placeResult(result: Tensor, first: number): void {
    this.#buffer.placeAt(result, this.#regions.results + first * this.#h.width * floatBytes);
  }

  dispose(): void {
    this.#buffer.dispose();
  }

  #leaf(context: Context, type: "F32" | "I32", shape: readonly number[], offset: number): Tensor {
    const tensor = context.tensor(type, shape);
    this.#buffer.placeAt(tensor, offset);
    return tensor;
  }
}

/** Byte offsets of the regions. */
function regionsOf(h: Hyperparameters, tokens: number) {
  let total = 0;
  const region = (elements: number) => {
    const offset = total;
    total += Math.ceil((elements * floatBytes) / tensorAlignment) * tensorAlignment;
    return offset;
  };
  const pairs = h.expertsUsed * tokens;
  const regions = {
    residual: region(h.width * tokens),
    normed: region(h.width * tokens),
    ranking: region(h.experts * tokens),
    guess: region(h.experts * tokens),
    logits: region(h.experts * tokens),
    stream: region(h.width * tokens),
    weights: region(pairs),
    order: region(pairs),
    places: region(pairs),
    ids: region(pairs),
    results: region(h.width * pairs),
  };
  return { ...regions, total };
}
