import type { ExpertCache } from "../experts/cache.ts";
import type { LossyExperts } from "../experts/lossy/lossy-experts.ts";
import type { Division } from "../experts/lossy/mode.ts";
import { isShort } from "../experts/short-steps.ts";
import type { Backend } from "../ggml/backend.ts";
import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks, ExpertPath } from "./blocks.ts";
import { chosenExperts, type ExpertGroups, greatestShares, groupByExpert } from "./expert-groups.ts";
import { biasById, biasOfOne, type ExpertProducts, expertNetwork } from "./expert-network.ts";
import { ExpertRegions } from "./expert-regions.ts";
import type { ExpertsInSlots } from "./experts-in-slots.ts";
import { expertsTogether, sumOfChosen } from "./experts-together.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { routedTokens, stepTokens } from "./routed-tokens.ts";
import type { Routing } from "./router.ts";
import { StepExperts } from "./step-experts.ts";
import type { LayerWeights, ModelWeights } from "./weights.ts";

/** Whether a step of so many tokens is faster expert by expert. */
export function runsApart(h: Hyperparameters, tokens: number): boolean {
  return h.experts > 0 && !isShort(tokens, { experts: h.experts, used: h.expertsUsed });
}

/**
 * Graph tensors that an expert takes: indices, rows, views of two or three weights and biases, as many products,
 * activation.
 */
const tensorsAnExpert = 18;
/** Tokens whose weighted sums are made at once: bounds the memory of gathered results. */
const tokensASum = 128;
/** Graph tensors that such a part takes. */
const tensorsASum = 8;

/** Room that one layer's graph of this path takes, besides its attention. */
export function expertTensorRoom(h: Hyperparameters, maxTokens: number): number {
  return h.experts * tensorsAnExpert + Math.ceil(maxTokens / tokensASum) * tensorsASum;
}

/** Runs the graph of the current scope and opens the next; throws when the step is dropped. */
export type RunScope = (blocks: Blocks) => Promise<void>;

/**
 * Experts one by one, in graphs of their own after the router's choice is read back. Each split is a safepoint.
 *
 * In long steps, each expert multiplies all of its rows at once: matrix products where `mul_mat_id` would go row by
 * row. In short ones, which come here only when experts are kept in slots, all chosen experts run together, by their
 * slots, or, where they do not fit into the slots at once, one by one with the same row products.
 *
 * The weighted results of a token are summed in the router's rank order, whatever the order in which experts came: the
 * numbers do not depend on what is in memory.
 */
export class ExpertsApart implements ExpertPath {
  readonly #h: Hyperparameters;
  readonly #regions: ExpertRegions;
  readonly #runScope: RunScope;
  readonly #slots: StepExperts | undefined;
  readonly #weights: ModelWeights;

  /** @param runtime its `experts` are where the experts are, when they are not among the weights */
  constructor(
    runtime: { backend: Backend; weights: ModelWeights; experts?: ExpertCache; lossy?: LossyExperts },
    maxTokens: number,
    runScope: RunScope,
  ) {
    const { backend, weights, experts, lossy } = runtime;
    this.#h = weights.layout.hyperparameters;
    this.#weights = weights;
    this.#regions = new ExpertRegions(backend, this.#h, maxTokens);
    this.#runScope = runScope;
    this.#slots = experts && new StepExperts(experts, lossy);
  }

  async run(blocks: Blocks, weights: LayerWeights, x: Tensor, normed: Tensor, routing: Routing) {
    const { experts, expertsUsed } = this.#h;
    const [, tokens] = normed.shape;
    const apart = runsApart(this.#h, tokens) || blocks.parts.sums !== undefined;
    if (!apart && !this.#slots) return expertsTogether.run(blocks, weights, x, normed, routing);

    const ranking = this.#regions.keep(blocks, x, normed, routing);
    const logits = this.#slots?.sees("probabilities")
      ? this.#regions.keepLogits(blocks.scope, routing.logits)
      : undefined;
    const guess = !apart && this.#slots?.sees("next-gate") ? this.#guess(blocks, x, routing) : undefined;
    const { layer } = blocks;
    if (!apart && layer === this.#h.denseLayers) {
      const step = stepTokens(blocks.parts);
      this.#slots?.later((cache) => cache.began(step));
    }
    await this.#run(blocks);
    this.#slots?.letGo();
    const groups = groupByExpert(ranking, tokens, experts, expertsUsed);
    const chosen = chosenExperts(groups);
    // First what may be read while this layer is computed.
    if (guess) this.#tellGuess(layer + 1, guess, tokens);
    if (this.#slots?.seesRouting) {
      const seen = { layer, decoding: !apart, tokens: routedTokens(blocks.parts, ranking, tokens, logits) };
      this.#slots.later((cache) => cache.routed(seen));
    }
    if (!this.#slots) {
      this.#order(blocks, groups);
      for (const expert of chosen)
        this.#addExpert(blocks, weights, matricesOf(weights, expert), groups, expert);
      return this.#sum(blocks, tokens);
    }
    const shares = () => (apart ? undefined : this.#shares(blocks, ranking, tokens));
    const division = this.#slots.divide(layer, chosen, shares);
    if (!apart && (await this.#slots.hold(layer, division))) {
      const y = this.#held(blocks, weights, this.#slots, { ranking, groups, division });
      return this.#slots.sees("pre-attention") ? this.#early(blocks, y, routing) : y;
    }
    this.#order(blocks, groups);
    this.#leaveOut(blocks, groups, division.skipped);
    for await (const { slots, experts: wave } of this.#slots.waves(layer, division)) {
      for (const expert of wave) this.#addInSlot(blocks, weights, slots, groups, expert, !apart);
      // Slots of a wave may be taken when the next is asked for.
      await this.#run(blocks);
    }
    this.#slots.ahead(layer + 1);
    return this.#sum(blocks, tokens);
  }

  /** What the next layer's router would choose for this layer's hidden state; there once the graph has run. */
  #guess(blocks: Blocks, x: Tensor, routing: Routing): Int32Array | undefined {
    const next = this.#weights.layers[blocks.layer + 1];
    if (!next) return undefined;
    return this.#regions.keepGuess(blocks.scope, routing.rankingAt(next, x));
  }

  /**
   * Has the next layer's router look at the stream before its attention, which takes a graph more.
   * @param y the stream after this layer's experts @returns the same, in a scope of its own
   */
  async #early(blocks: Blocks, y: Tensor, routing: Routing): Promise<Tensor> {
    const next = this.#weights.layers[blocks.layer + 1];
    if (!next) return y;
    const [, tokens] = y.shape;
    this.#regions.keepStream(blocks.scope, y);
    const guess = this.#regions.keepGuess(blocks.scope, routing.rankingAt(next, y));
    await this.#run(blocks);
    this.#tellGuess(blocks.layer + 1, guess, tokens);
    return this.#regions.stream(blocks.scope.context, tokens);
  }

  /** @param ranking [tokens][experts], of the router of a layer that is to come */
  #tellGuess(layer: number, ranking: Int32Array, tokens: number): void {
    const { experts: count, expertsUsed } = this.#h;
    const experts = chosenExperts(groupByExpert(ranking, tokens, count, expertsUsed));
    this.#slots!.later((cache) => cache.guessed({ layer, experts }));
  }

  /** Runs the graph of the current scope; what policies are to be told, they are told meanwhile. */
  async #run(blocks: Blocks): Promise<void> {
    const running = this.#runScope(blocks);
    this.#slots?.working();
    await running;
  }

  /** The last graph of a step is being computed. */
  working(): void {
    this.#slots?.working();
  }

  /** The step is over: nothing is computed with what it held. */
  finish(): void {
    this.#slots?.finish();
  }

  dispose(): void {
    this.#regions.dispose();
  }

  /** A short step's experts, all of which are held: at once where all lie in the same slots, else one by one. */
  #held(
    blocks: Blocks,
    weights: LayerWeights,
    held: StepExperts,
    step: { ranking: Int32Array; groups: ExpertGroups; division: Division },
  ): Tensor {
    const { ranking, groups, division } = step;
    const { full, low, skipped } = division;
    const tokens = groups.tokensByExpert.length / this.#h.expertsUsed;
    if (skipped.length === 0 && low.length === 0) {
      return this.#together(blocks, weights, held.full, ranking, tokens);
    }
    if (skipped.length === 0 && full.length === 0) {
      return this.#together(blocks, weights, held.low!, ranking, tokens);
    }
    this.#order(blocks, groups);
    this.#leaveOut(blocks, groups, skipped);
    for (const expert of full) this.#addInSlot(blocks, weights, held.full, groups, expert, true);
    for (const expert of low) this.#addInSlot(blocks, weights, held.low!, groups, expert, true);
    return this.#sum(blocks, tokens);
  }

  /** All chosen experts at once: as {@link expertsTogether}, with slots for experts. */
  #together(
    blocks: Blocks,
    weights: LayerWeights,
    slots: ExpertsInSlots,
    ranking: Int32Array,
    tokens: number,
  ): Tensor {
    const { experts, expertsUsed } = this.#h;
    const { context } = blocks.scope;
    const flat = this.#regions.indices(context, "ids", 0, tokens * expertsUsed);
    const ids = flat.ints();
    for (let token = 0; token < tokens; token++) {
      for (let rank = 0; rank < expertsUsed; rank++) {
        ids[token * expertsUsed + rank] = slots.slotOf(blocks.layer, ranking[token * experts + rank]!);
      }
    }
    const chosen = context.reshape2d(flat, expertsUsed, tokens);
    const products = slots.productsById(context, blocks.layer, chosen);
    return sumOfChosen(
      blocks,
      products,
      biasById(context, weights, this.#regions.chosen(context, tokens)),
      this.#regions.residual(context, tokens),
      this.#regions.rows(context, tokens),
      this.#regions.weights(context, 0, tokens, expertsUsed),
    );
  }

  /** Where the rows of each expert are, and where the results of each token's experts will be. */
  #order({ scope: { context } }: Blocks, groups: ExpertGroups): void {
    const pairs = groups.places.length;
    this.#regions.indices(context, "order", 0, pairs).ints().set(groups.tokensByExpert);
    this.#regions.indices(context, "places", 0, pairs).ints().set(groups.places);
  }

  /** By expert, the greatest share that it has of a token's weights. */
  #shares({ scope: { context } }: Blocks, ranking: Int32Array, tokens: number): Float32Array {
    const { experts, expertsUsed } = this.#h;
    const weights = this.#regions.weights(context, 0, tokens, expertsUsed).floats();
    return greatestShares(ranking, weights, { tokens, experts, used: expertsUsed });
  }

  /** Experts that are skipped: their results are zero. */
  #leaveOut({ scope: { context } }: Blocks, { starts, places }: ExpertGroups, skipped: readonly number[]) {
    if (skipped.length === 0) return;
    const results = this.#regions.results(context, places.length).floats();
    const { width } = this.#h;
    for (const expert of skipped) results.fill(0, starts[expert]! * width, starts[expert + 1]! * width);
  }

  /** {@link ExpertsApart.#addExpert} for an expert that is held in a slot. @param rowByRow as `mul_mat_id` multiplies */
  #addInSlot(
    blocks: Blocks,
    weights: LayerWeights,
    slots: ExpertsInSlots,
    groups: ExpertGroups,
    expert: number,
    rowByRow: boolean,
  ): void {
    const first = groups.starts[expert]!;
    const count = groups.starts[expert + 1]! - first;
    const ids = () => this.#regions.indices(blocks.scope.context, "ids", first, count);
    const products = slots.products(blocks.layer, expert, rowByRow ? ids : undefined);
    this.#addExpert(blocks, weights, products, groups, expert);
  }

  /** One expert's network on its rows, its result where its pairs stand. */
  #addExpert(
    blocks: Blocks,
    weights: LayerWeights,
    products: (context: Context) => ExpertProducts,
    { starts, tokensByExpert }: ExpertGroups,
    expert: number,
  ): void {
    const { context, graph } = blocks.scope;
    const tokens = tokensByExpert.length / this.#h.expertsUsed;
    const first = starts[expert]!;
    const count = starts[expert + 1]! - first;
    const mine = this.#regions.indices(context, "order", first, count);
    const rows = context.getRows(this.#regions.rows(context, tokens), mine);
    const bias = biasOfOne(context, weights, expert);
    const result = expertNetwork(blocks, observed(blocks, products(context), expert), bias, rows);
    this.#regions.placeResult(result, first);
    graph.expand(result);
  }

  /** Results brought back into the order of tokens and ranks, times the router's weights, plus the residual. */
  #sum({ scope: { context, graph } }: Blocks, tokens: number): Tensor {
    const { width, expertsUsed } = this.#h;
    for (let first = 0; first < tokens; first += tokensASum) {
      const count = Math.min(tokensASum, tokens - first);
      const pairs = count * expertsUsed;
      const mine = this.#regions.indices(context, "places", first * expertsUsed, pairs);
      const all = this.#regions.results(context, tokens * expertsUsed);
      const gathered = context.reshape3d(context.getRows(all, mine), width, expertsUsed, count);
      const part = context.outerProduct(gathered, this.#regions.weights(context, first, count, expertsUsed));
      this.#regions.placeSum(part, first);
      graph.expand(part);
    }
    return context.add(this.#regions.rows(context, tokens), this.#regions.residual(context, tokens));
  }
}

/** The same products; of each it is told what it is given, where that is wanted. */
function observed({ scope, layer, parts: { sums } }: Blocks, products: ExpertProducts, expert: number) {
  if (!sums) return products;
  const product: ExpertProducts["product"] = (weight, rows) => {
    const joined = products.joined && weight === "ffn_gate_exps.weight";
    const names = joined ? [weight, "ffn_up_exps.weight"] : [weight];
    sums.add(
      scope,
      names.map((name) => `blk.${layer}.${name}`),
      rows,
      expert,
    );
    return products.product(weight, rows);
  };
  return { ...products, product };
}

/** The matrices of one expert among those of a layer in memory. */
function matricesOf(weights: LayerWeights, expert: number): (context: Context) => ExpertProducts {
  return (context) => ({
    joined: weights.joined("ffn_gate_exps.weight", "ffn_up_exps.weight"),
    product: (name, rows) => {
      const { tensor } = weights.weight(name);
      const [k, m] = tensor.shape;
      const [, rowStride, expertStride] = tensor.strides;
      return context.mulMat(context.view(tensor, [k, m], [rowStride], expert * expertStride), rows);
    },
  });
}
