import type { Backend } from "../ggml/backend.ts";
import { Buffer, tensorAlignment } from "../ggml/buffer.ts";
import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks, ExpertPath, Routing } from "./blocks.ts";
import { expertsTogether } from "./experts-together.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import type { LayerWeights } from "./weights.ts";

const floatBytes = 4;
const intBytes = 4;

/** Up to so many rows an expert, on average, experts run together: products of matrices gain nothing from fewer. */
const mostRowsTogether = 4;

/** Whether a step of so many tokens is faster expert by expert. */
export function runsApart(h: Hyperparameters, tokens: number): boolean {
  return h.experts > 0 && tokens * h.expertsUsed > mostRowsTogether * h.experts;
}

/** Graph tensors that an expert takes: indices, rows, two or three weights, as many products, activation. */
const tensorsAnExpert = 9;
/** Tokens whose weighted sums are made at once: bounds the memory of gathered results. */
const tokensASum = 128;
/** Graph tensors that such a part takes. */
const tensorsASum = 8;

/** Room that one layer's graph of this path takes, besides its attention. */
export function expertTensorRoom(h: Hyperparameters, maxTokens: number): number {
  return h.experts * tensorsAnExpert + Math.ceil(maxTokens / tokensASum) * tensorsASum;
}

/** Bytes that {@link ExpertsApart} holds for steps of at most `tokens` tokens. */
export function expertsApartBytes(h: Hyperparameters, tokens: number): number {
  return regionsOf(h, tokens).total;
}

/** Runs the graph of the current scope and opens the next; throws when the step is dropped. */
export type RunScope = (blocks: Blocks) => Promise<void>;

/**
 * Expert by expert: the router's choice is read back, the rows of each expert are gathered and multiplied with its
 * matrices at once, and the weighted results are summed in the router's rank order. The path of prefill: matrix
 * products where `mul_mat_id` would go row by row. Splits the step after every router, which is a safepoint.
 */
export class ExpertsApart implements ExpertPath {
  readonly #h: Hyperparameters;
  readonly #buffer: Buffer;
  readonly #regions: ReturnType<typeof regionsOf>;
  readonly #runScope: RunScope;

  constructor(backend: Backend, h: Hyperparameters, maxTokens: number, runScope: RunScope) {
    this.#h = h;
    this.#regions = regionsOf(h, maxTokens);
    this.#buffer = Buffer.allocate(backend.native, backend.hostBufferType, this.#regions.total);
    this.#runScope = runScope;
  }

  async run(blocks: Blocks, weights: LayerWeights, x: Tensor, normed: Tensor, routing: Routing) {
    const [width, tokens] = normed.shape;
    if (!runsApart(this.#h, tokens)) return expertsTogether.run(blocks, weights, x, normed, routing);
    const { experts, expertsUsed } = this.#h;
    const regions = this.#regions;

    // What the next graph reads of this one is kept out of reach of the working memory that both share.
    this.#buffer.placeAt(x, regions.residual);
    this.#buffer.placeAt(normed, regions.normed);
    this.#buffer.placeAt(routing.ranking, regions.ranking);
    for (const kept of [x, normed, routing.ranking]) blocks.scope.graph.expand(kept);
    const weightsCopy = this.#leaf(blocks.scope.context, "F32", [1, expertsUsed, tokens], regions.weights);
    blocks.scope.graph.expand(blocks.scope.context.copy(routing.weights, weightsCopy));
    const ranking = routing.ranking.ints();
    await this.#runScope(blocks);

    const { context, graph } = blocks.scope;
    const leaf = (shape: readonly number[], offset: number) => this.#leaf(context, "F32", shape, offset);
    const plan = groupByExpert(ranking, tokens, experts, expertsUsed);
    const order = this.#leaf(context, "I32", [tokens * expertsUsed], regions.order);
    order.ints().set(plan.tokensByExpert);
    this.#leaf(context, "I32", [tokens * expertsUsed], regions.places)
      .ints()
      .set(plan.places);
    const rows = leaf([width, tokens], regions.normed);

    for (let expert = 0; expert < experts; expert++) {
      const first = plan.starts[expert]!;
      const count = plan.starts[expert + 1]! - first;
      if (count === 0) continue;
      const mine = context.getRows(rows, context.view(order, [count], [], first * intBytes));
      const result = this.#expert(context, weights, expert, mine);
      this.#buffer.placeAt(result, regions.results + first * width * floatBytes);
      graph.expand(result);
    }

    const sum = leaf([width, tokens], regions.normed);
    for (let first = 0; first < tokens; first += tokensASum) {
      const count = Math.min(tokensASum, tokens - first);
      const part = this.#weightedSum(context, first, count, tokens);
      this.#buffer.placeAt(part, regions.normed + first * width * floatBytes);
      graph.expand(part);
    }
    return context.add(sum, leaf([width, tokens], regions.residual));
  }

  dispose(): void {
    this.#buffer.dispose();
  }

  /** Results of `count` tokens, brought back into the order of tokens and ranks, times the router's weights. */
  #weightedSum(context: Context, first: number, count: number, tokens: number): Tensor {
    const { width, expertsUsed } = this.#h;
    const { results, places, weights } = this.#regions;
    const pairs = count * expertsUsed;
    const offset = first * expertsUsed;
    const mine = this.#leaf(context, "I32", [pairs], places + offset * intBytes);
    const all = this.#leaf(context, "F32", [width, tokens * expertsUsed], results);
    const gathered = context.reshape3d(context.getRows(all, mine), width, expertsUsed, count);
    const gates = this.#leaf(context, "F32", [1, expertsUsed, count], weights + offset * floatBytes);
    return context.outerProduct(gathered, gates);
  }

  /** One expert's network on its rows: [width, rows] → [width, rows]. */
  #expert(context: Context, weights: LayerWeights, expert: number, rows: Tensor): Tensor {
    const matrix = (tensor: Tensor) => {
      const [k, m] = tensor.shape;
      const [, rowStride, expertStride] = tensor.strides;
      return context.view(tensor, [k, m], [rowStride], expert * expertStride);
    };
    const gate = weights.weight("ffn_gate_exps.weight").tensor;
    const up = weights.weight("ffn_up_exps.weight").tensor;
    const hidden =
      gate === up
        ? context.swiglu(context.mulMat(matrix(gate), rows))
        : context.swigluSplit(context.mulMat(matrix(gate), rows), context.mulMat(matrix(up), rows));
    return context.mulMat(matrix(weights.tensor("ffn_down_exps.weight")), hidden);
  }

  #leaf(context: Context, type: "F32" | "I32", shape: readonly number[], offset: number): Tensor {
    const tensor = context.tensor(type, shape);
    this.#buffer.placeAt(tensor, offset);
    return tensor;
  }
}

/** The (token, rank) pairs of a step in the order of their experts. */
export interface ExpertGroups {
  /** Where each expert's pairs start; one more entry at the end. */
  readonly starts: Int32Array;
  /** Token of each pair, by expert. */
  readonly tokensByExpert: Int32Array;
  /** Where the pair of (token, rank) stands, [token][rank]. */
  readonly places: Int32Array;
}

/** @param ranking experts of each token by falling probability, [tokens][experts] */
export function groupByExpert(
  ranking: Int32Array,
  tokens: number,
  experts: number,
  expertsUsed: number,
): ExpertGroups {
  const starts = new Int32Array(experts + 1);
  for (let token = 0; token < tokens; token++) {
    for (let rank = 0; rank < expertsUsed; rank++) starts[ranking[token * experts + rank]! + 1]!++;
  }
  for (let expert = 0; expert < experts; expert++) starts[expert + 1]! += starts[expert]!;
  const next = starts.slice(0, experts);
  const tokensByExpert = new Int32Array(tokens * expertsUsed);
  const places = new Int32Array(tokens * expertsUsed);
  for (let token = 0; token < tokens; token++) {
    for (let rank = 0; rank < expertsUsed; rank++) {
      const place = next[ranking[token * experts + rank]!]!++;
      tokensByExpert[place] = token;
      places[token * expertsUsed + rank] = place;
    }
  }
  return { starts, tokensByExpert, places };
}

/** Byte offsets of what is kept between the graphs of a step. */
function regionsOf(h: Hyperparameters, tokens: number) {
  let total = 0;
  const region = (elements: number) => {
    const offset = total;
    total += Math.ceil((elements * floatBytes) / tensorAlignment) * tensorAlignment;
    return offset;
  };
  const regions = {
    residual: region(h.width * tokens),
    normed: region(h.width * tokens),
    ranking: region(h.experts * tokens),
    weights: region(h.expertsUsed * tokens),
    order: region(h.expertsUsed * tokens),
    places: region(h.expertsUsed * tokens),
    results: region(h.width * h.expertsUsed * tokens),
  };
  return { ...regions, total };
}
