import type { Context } from "../ggml/context.ts";
import type { Graph } from "../ggml/graph.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { KvStore } from "../kv/tensors.ts";
import type { ActivationSums } from "./activation-sums.ts";
import { type AttentionOptions, selfAttention } from "./attention.ts";
import { gatedNetwork, sharedExpert } from "./feed-forward.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { latentAttention } from "./latent-attention.ts";
import { type AdaptedRows, adaptedRows } from "./lora/adapted-rows.ts";
import { embeddings } from "./lora/adapter-file.ts";
import { type Factors, rowsIn, withDeltas } from "./lora/deltas.ts";
import { type Projection, rowsOf } from "./projection.ts";
import { type RouterOptions, type Routing, route } from "./router.ts";
import type { RoutingTap } from "./routing-tap.ts";
import type { StepShape } from "./step.ts";
import type { StepMemory } from "./step-memory.ts";
import type { LayerWeights } from "./weights.ts";

const indexBytes = 4;

/** The tensors and the graph that blocks add to. A step that runs as several graphs has one after another. */
export interface Scope {
  readonly context: Context;
  readonly graph: Graph;
}

/** How the chosen experts are run: all in the same graph, or expert by expert in a graph of their own. */
export interface ExpertPath {
  /** @returns x + the weighted sum of the chosen experts of `normed`, [width, tokens] */
  run(blocks: Blocks, weights: LayerWeights, x: Tensor, normed: Tensor, routing: Routing): Promise<Tensor>;
}

/** What a step gives, each where it was asked for. */
export interface StepOutputs {
  /** [vocabulary, tokens] */
  readonly logits?: Tensor;
  /** [width, tokens]: what the output matrix would be multiplied with. */
  readonly states?: Tensor;
}

/** What every block of a step reads. */
export interface StepParts {
  readonly hyperparameters: Hyperparameters;
  readonly shape: StepShape;
  readonly memory: StepMemory;
  readonly kv: KvStore;
  readonly globals: LayerWeights;
  /** Most tokens of a sequence. */
  readonly contextTokens: number;
  readonly experts: ExpertPath;
  /** Where routing is left, when it is recorded. */
  readonly tap?: RoutingTap;
  /** Told what every product of a layer is given, where that is wanted. */
  readonly sums?: ActivationSums | undefined;
}

/**
 * The building blocks of all families. Each takes and gives activations [width, tokens] in F32 and adds its nodes
 * to the current scope. Sums and roundings come in llama.cpp's order, so that logits agree with it. What a block
 * computes stands in a file of its own: `attention.ts`, `feed-forward.ts`, `router.ts`.
 */
export class Blocks {
  readonly parts: StepParts;
  scope: Scope;
  /** The layer that is being built. */
  layer = 0;
  /** The residual stream that it is given, [width, tokens]. */
  input: Tensor | undefined;

  constructor(parts: StepParts, scope: Scope) {
    this.parts = parts;
    this.scope = scope;
  }

  get hyperparameters(): Hyperparameters {
    return this.parts.hyperparameters;
  }

  /** Token embeddings of the step's tokens. */
  embed(): Tensor {
    const { context } = this.scope;
    const { globals, memory, hyperparameters } = this.parts;
    const rows = context.getRows(globals.tensor(embeddings), memory.tokens);
    const adapted = this.#adapted(rows, 0, embeddings, (a, { first, count, apart }) => {
      const factors = context.getRows(a, context.view(memory.tokens, [count], [], first * indexBytes));
      return apart ? context.reshape3d(factors, a.shape[0], 1, count) : factors;
    });
    const { embeddingScale } = hyperparameters;
    return embeddingScale === undefined ? adapted : context.scale(adapted, embeddingScale);
  }

  /** Root-mean-square norm, then the element-wise weights `name`.weight, and `name`.bias where it is there. */
  norm(x: Tensor, weights: LayerWeights, name: string): Tensor {
    const { context } = this.scope;
    const normed = context.rmsNorm(x, this.hyperparameters.normEpsilon);
    const scaled = context.mul(normed, weights.tensor(`${name}.weight`));
    const bias = weights.find(`${name}.bias`)?.tensor;
    return bias ? context.add(scaled, bias) : scaled;
  }

  /** Norm by mean and deviation, then the element-wise weights `name`.weight, and `name`.bias. */
  layerNorm(x: Tensor, weights: LayerWeights, name: string): Tensor {
    const { context } = this.scope;
    const normed = context.norm(x, this.hyperparameters.normEpsilon);
    const scaled = context.mul(normed, weights.tensor(`${name}.weight`));
    return context.add(scaled, weights.tensor(`${name}.bias`));
  }

  /** What the step is for, of the tokens that give an output: see {@link StepShape}. */
  head(x: Tensor): StepOutputs {
    const { context } = this.scope;
    const { globals, shape, memory } = this.parts;
    const { outputs, states = 0 } = shape;
    if (this.hyperparameters.encoder) return { states: x };
    const final = this.norm(
      this.#allGoOn && memory.outputs ? context.getRows(x, memory.outputs) : x,
      globals,
      "output_norm",
    );
    if (states === outputs) return { states: final };
    if (states === 0) return { logits: this.#logits(final) };
    const [width] = final.shape;
    const rows = (from: number, count: number) =>
      context.view(final, [width, count], [final.strides[1]], from * final.strides[1]);
    return {
      logits: this.#logits(rows(0, outputs - states)),
      // A copy: the memory of what others go on from is used again.
      states: context.contiguous2d(rows(outputs - states, states), width, states),
    };
  }

  /** @param states [width, tokens] */
  #logits(states: Tensor): Tensor {
    const { context } = this.scope;
    const { globals, hyperparameters } = this.parts;
    const logits = this.product(globals, "output.weight", states);
    const cap = hyperparameters.logitSoftCap;
    return cap === undefined ? logits : context.scale(context.tanh(context.scale(logits, 1 / cap)), cap);
  }

  /**
   * What the named weights make of x [width, tokens], with their biases where there are some: one product for each
   * distinct tensor that they lie in. Every product of activations with weights comes through here, but those of
   * routed experts (`expert-network.ts`); so here adapters are added.
   */
  project(weights: LayerWeights, names: readonly string[], x: Tensor): Projection[] {
    const { context } = this.scope;
    this.#observe(weights, names, x);
    const products = new Map<Tensor, Tensor>();
    for (const name of names) {
      const { tensor, firstRow } = weights.weight(name);
      const product = products.get(tensor) ?? context.mulMat(tensor, x);
      const factors = (a: Tensor, range: AdaptedRows) => context.mulMat(a, rowsIn(context, x, range));
      products.set(tensor, this.#adapted(product, firstRow, weights.prefix + name, factors));
    }
    return names.map((name) => {
      const { tensor, firstRow, rows } = weights.weight(name);
      const projection = { source: products.get(tensor)!, first: firstRow, rows };
      const bias = weights.find(name.replace(/weight$/, "bias"))?.tensor;
      return bias ? { source: context.add(rowsOf(context, projection), bias), first: 0, rows } : projection;
    });
  }

  /** What a weight that has a matrix for each head makes of x [k, tokens, heads]: [rows, tokens, heads]. */
  productByHead(weights: LayerWeights, name: string, x: Tensor): Tensor {
    this.#observe(weights, [name], x);
    return this.scope.context.mulMat(weights.tensor(name), x);
  }

  /** Whether the last layer is computed for tokens that need no logits too. */
  get #allGoOn(): boolean {
    return this.parts.tap !== undefined || this.parts.sums !== undefined;
  }

  /** Of the layers' matrices, but for routers: those are never quantised. */
  #observe(weights: LayerWeights, names: readonly string[], x: Tensor): void {
    const { sums, globals } = this.parts;
    if (!sums || weights === globals || names[0]!.startsWith("ffn_gate_inp")) return;
    sums.add(
      this.scope,
      names.map((name) => `blk.${this.layer}.${name}`),
      x,
    );
  }

  /** What one weight makes of x: [rows, tokens]. */
  product(weights: LayerWeights, name: string, x: Tensor): Tensor {
    const [projection] = this.project(weights, [name], x);
    return rowsOf(this.scope.context, projection!);
  }

  #adapted(product: Tensor, firstRow: number, weight: string, factors: Factors): Tensor {
    const ranges = adaptedRows(this.parts.shape, product.shape[1]);
    return withDeltas(this.scope.context, { product, firstRow, ranges, weight, factors });
  }

  /**
   * Those rows of x [n, tokens] that go on in the current layer: in the last one, of the tokens that need logits. Where
   * routing is recorded or activations are summed up, all go on to the end.
   */
  outputRows(x: Tensor): Tensor {
    const { memory, hyperparameters } = this.parts;
    if (this.layer < hyperparameters.layers - 1 || !memory.outputs || this.#allGoOn) return x;
    return this.scope.context.getRows(x, memory.outputs);
  }

  /**
   * Pre-norm causal self-attention, and the residual sum; see {@link selfAttention}.
   * @param options.postNorm a norm before the residual sum
   */
  attention(
    weights: LayerWeights,
    x: Tensor,
    options: AttentionOptions & { readonly postNorm?: string },
  ): Tensor {
    const { postNorm } = options;
    const attended = selfAttention(this, weights, this.norm(x, weights, "attn_norm"), options);
    const sum = postNorm ? this.norm(attended, weights, postNorm) : attended;
    return this.scope.context.add(sum, this.outputRows(x));
  }

  /** Pre-norm latent attention, and the residual sum; see {@link latentAttention}. */
  latentAttention(weights: LayerWeights, x: Tensor): Tensor {
    const attended = latentAttention(this, weights, this.norm(x, weights, "attn_norm"));
    return this.scope.context.add(attended, this.outputRows(x));
  }

  /**
   * Pre-norm gated feed-forward network, and the residual sum.
   * @param options.norm name of the norm's weights, "ffn_norm" by default
   * @param options.postNorm a norm before the residual sum
   */
  feedForward(
    weights: LayerWeights,
    x: Tensor,
    { norm = "ffn_norm", postNorm }: { readonly norm?: string; readonly postNorm?: string } = {},
  ): Tensor {
    const output = gatedNetwork(this, weights, this.norm(x, weights, norm), "");
    return this.scope.context.add(postNorm ? this.norm(output, weights, postNorm) : output, x);
  }

  /**
   * Pre-norm mixture of gated experts, and the residual sum; see {@link route}. A shared expert, where there is one,
   * is added to the residual stream before the others are, by as much as its gate says if it has one.
   * @param options.norm name of the norm's weights, "ffn_norm" by default
   * @param options.routed what the router is given instead of what the experts are: the layer's input
   */
  experts(
    weights: LayerWeights,
    x: Tensor,
    options: RouterOptions & { readonly norm?: string; readonly routed?: Tensor },
  ): Promise<Tensor> {
    const { norm = "ffn_norm", routed } = options;
    const normed = this.norm(x, weights, norm);
    const inputAt = (layer: LayerWeights, x: Tensor) => (routed ? x : this.norm(x, layer, norm));
    const routing = route(this, weights, routed ? this.outputRows(routed) : normed, options, inputAt);
    const shared = this.hyperparameters.sharedExpertWidth > 0;
    const residual = shared ? this.scope.context.add(sharedExpert(this, weights, normed), x) : x;
    return this.parts.experts.run(this, weights, residual, normed, routing);
  }
}
