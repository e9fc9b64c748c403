import type { Context } from "../ggml/context.ts";
import type { Graph } from "../ggml/graph.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { KvTensors } from "../kv/tensors.ts";
import { attendedWidth, queryRows } from "./attention-shape.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { commonStride, type StepSequence, type StepShape } from "./step.ts";
import type { StepMemory } from "./step-memory.ts";
import { jointHeadNorm, type LayerWeights } from "./weights.ts";

const floatBytes = 4;
const halfBytes = 2;

/** Where queries and keys are normalised inside attention. */
export type AttentionNorms = "none" | "each head" | "all heads";

/** The tensors and the graph that blocks add to. A step that runs as several graphs has one after another. */
export interface Scope {
  readonly context: Context;
  readonly graph: Graph;
}

/** The router's choice for every token. */
export interface Routing {
  /** All experts by falling probability, I32 [experts, tokens]; the first `expertsUsed` of each are chosen. */
  readonly ranking: Tensor;
  /** Weights of the chosen, in that order, F32 [1, expertsUsed, tokens]. */
  readonly weights: Tensor;
}

/** How the chosen experts are run: all in the same graph, or expert by expert in a graph of their own. */
export interface ExpertPath {
  /** @returns x + the weighted sum of the chosen experts of `normed`, [width, tokens] */
  run(blocks: Blocks, weights: LayerWeights, x: Tensor, normed: Tensor, routing: Routing): Promise<Tensor>;
}

/** What every block of a step reads. */
export interface StepParts {
  readonly hyperparameters: Hyperparameters;
  readonly shape: StepShape;
  readonly memory: StepMemory;
  readonly kv: KvTensors;
  readonly globals: LayerWeights;
  readonly experts: ExpertPath;
}

/** Some rows of a projection that made more: `rows` elements a token, from element `first` on. */
interface Projection {
  readonly source: Tensor;
  readonly first: number;
  readonly rows: number;
}

/** What one attention call covers: tokens from `firstToken` on, keys from `firstCell` on. */
interface AttentionRun {
  readonly tokens: number;
  readonly firstToken: number;
  readonly firstCell: number;
  readonly keys: number;
  readonly count: number;
  readonly stride: number;
}

/**
 * The building blocks of all families. Each takes and gives activations [width, tokens] in F32 and adds its nodes
 * to the current scope. Sums and roundings come in llama.cpp's order, so that logits agree with it.
 */
export class Blocks {
  readonly parts: StepParts;
  scope: Scope;
  /** The layer that is being built. */
  layer = 0;

  constructor(parts: StepParts, scope: Scope) {
    this.parts = parts;
    this.scope = scope;
  }

  get hyperparameters(): Hyperparameters {
    return this.parts.hyperparameters;
  }

  /** Token embeddings of the step's tokens. */
  embed(): Tensor {
    const { globals, memory } = this.parts;
    return this.scope.context.getRows(globals.tensor("token_embd.weight"), memory.tokens);
  }

  /** Root-mean-square norm, then element-wise weights. */
  norm(x: Tensor, weights: Tensor): Tensor {
    const { context } = this.scope;
    return context.mul(context.rmsNorm(x, this.hyperparameters.normEpsilon), weights);
  }

  /** Logits [vocabulary, outputs] of the tokens that need them. */
  head(x: Tensor): Tensor {
    const { globals } = this.parts;
    const normed = this.norm(x, globals.tensor("output_norm.weight"));
    return this.scope.context.mulMat(globals.tensor("output.weight"), normed);
  }

  /**
   * Pre-norm causal self-attention with grouped queries and RoPE, and the residual sum. Writes the new keys and
   * values into their cells. In the last layer only the tokens that need logits go on.
   */
  attention(weights: LayerWeights, x: Tensor, options: { norms: AttentionNorms }): Tensor {
    const { context } = this.scope;
    const { memory, hyperparameters } = this.parts;
    const normed = this.norm(x, weights.tensor("attn_norm.weight"));
    const [q, k, v] = this.#project(weights, ["attn_q.weight", "attn_k.weight", "attn_v.weight"], normed);
    const [queries, keys] = this.#rotated(weights, q!, k!, options.norms);
    this.#storeKeysAndValues(keys, v!);
    let attended = this.#attend(queries);
    let residual = x;
    if (this.layer === hyperparameters.layers - 1 && memory.outputs) {
      attended = context.getRows(attended, memory.outputs);
      residual = context.getRows(x, memory.outputs);
    }
    return context.add(context.mulMat(weights.tensor("attn_output.weight"), attended), residual);
  }

  /** Pre-norm gated feed-forward network (SwiGLU), and the residual sum. */
  feedForward(weights: LayerWeights, x: Tensor): Tensor {
    const { context } = this.scope;
    const normed = this.norm(x, weights.tensor("ffn_norm.weight"));
    const gate = weights.weight("ffn_gate.weight").tensor;
    const up = weights.weight("ffn_up.weight").tensor;
    const hidden =
      gate === up
        ? context.swiglu(context.mulMat(gate, normed))
        : context.swigluSplit(context.mulMat(gate, normed), context.mulMat(up, normed));
    return context.add(context.mulMat(weights.tensor("ffn_down.weight"), hidden), x);
  }

  /**
   * Pre-norm mixture of gated experts, and the residual sum: softmax over all experts, the best `expertsUsed`,
   * their probabilities as weights.
   * @param options.normalise divide the weights of a token by their sum
   */
  experts(weights: LayerWeights, x: Tensor, options: { normalise: boolean }): Promise<Tensor> {
    const { context } = this.scope;
    const normed = this.norm(x, weights.tensor("ffn_norm.weight"));
    const logits = context.mulMat(weights.tensor("ffn_gate_inp.weight"), normed);
    const routing = this.#route(logits, options.normalise);
    return this.parts.experts.run(this, weights, x, normed, routing);
  }

  /**
   * Probabilities that are divided by their sum are a softmax over the chosen logits alone: two nodes where
   * llama.cpp has five, at a difference of rounding.
   */
  #route(logits: Tensor, normalise: boolean): Routing {
    const { context, graph } = this.scope;
    const { expertsUsed } = this.hyperparameters;
    const [experts, tokens] = logits.shape;
    const scores = normalise ? logits : context.softMax(logits);
    const ranking = context.argsort(scores);
    const chosen = context.view(ranking, [expertsUsed, tokens], [ranking.strides[1]], 0);
    const picked = context.getRows(context.reshape3d(scores, 1, experts, tokens), chosen);
    const weights = normalise
      ? context.reshape3d(
          context.softMax(context.reshape2d(picked, expertsUsed, tokens)),
          1,
          expertsUsed,
          tokens,
        )
      : picked;
    graph.expand(weights);
    return { ranking, weights };
  }

  /** One product for each distinct tensor that the named weights lie in. */
  #project(weights: LayerWeights, names: readonly string[], x: Tensor): Projection[] {
    const products = new Map<Tensor, Tensor>();
    return names.map((name) => {
      const { tensor, firstRow, rows } = weights.weight(name);
      const source = products.get(tensor) ?? this.scope.context.mulMat(tensor, x);
      products.set(tensor, source);
      return { source, first: firstRow, rows };
    });
  }

  /**
   * Queries [head width, heads, tokens] and keys [head width, kv heads, tokens], normalised and rotated: in one go
   * where they come out of one product.
   */
  #rotated(weights: LayerWeights, q: Projection, k: Projection, norms: AttentionNorms): [Tensor, Tensor] {
    const { heads, kvHeads } = this.hyperparameters;
    const jointNorm = weights.find(jointHeadNorm)?.tensor;
    if (q.source === k.source && (norms === "none" || (norms === "each head" && jointNorm))) {
      const both = this.#heads(q, heads + kvHeads);
      const rotated = this.#rope(jointNorm ? this.norm(both, jointNorm) : both);
      return [this.#someHeads(rotated, 0, heads), this.#someHeads(rotated, heads, kvHeads)];
    }
    if (norms === "none") return [this.#rope(this.#heads(q, heads)), this.#rope(this.#heads(k, kvHeads))];
    const queryNorm = weights.tensor("attn_q_norm.weight");
    const keyNorm = weights.tensor("attn_k_norm.weight");
    if (norms === "each head") {
      const queries = this.norm(this.#heads(q, heads), queryNorm);
      const keys = this.norm(this.#heads(k, kvHeads), keyNorm);
      return [this.#rope(queries), this.#rope(keys)];
    }
    const queries = this.norm(this.#rows(q), queryNorm);
    const keys = this.norm(this.#rows(k), keyNorm);
    return [this.#rope(this.#split(queries, heads)), this.#rope(this.#split(keys, kvHeads))];
  }

  #rope(x: Tensor): Tensor {
    const { globals, memory, hyperparameters } = this.parts;
    const factors = globals.find("rope_freqs.weight")?.tensor;
    return this.scope.context.rope(x, memory.positions, hyperparameters.rope, factors);
  }

  #storeKeysAndValues(keys: Tensor, v: Projection): void {
    const { context, graph } = this.scope;
    const { kv, memory, hyperparameters } = this.parts;
    const { kvHeads, headWidth } = hyperparameters;
    const flatKeys = context.view(keys, [kvHeads * headWidth, keys.shape[2]], [keys.strides[2]], 0);
    const cells = kv.keys[this.layer]!;
    const target = context.view(cells, [kvHeads * headWidth, cells.shape[1]], [cells.strides[1]], 0);
    graph.expand(context.setRows(target, flatKeys, memory.cells));
    graph.expand(context.setRows(kv.values[this.layer]!, this.#rows(v), memory.cells));
  }

  /**
   * One flash-attention call a sequence, so that neighbours in the batch never change a sequence's numbers; or one
   * for all where that gives the same.
   */
  #attend(queries: Tensor): Tensor {
    const { graph } = this.scope;
    const { memory, shape } = this.parts;
    const stride = commonStride(shape);
    if (stride !== undefined) return this.#attendTogether(queries, stride);
    const [only] = shape.sequences as [StepSequence];
    if (shape.sequences.length === 1) {
      const run = { ...only, firstToken: 0, count: 1, stride: 0 };
      return this.#flat(this.#attention(queries, run, memory.masks[0]!), only.tokens);
    }
    let firstToken = 0;
    shape.sequences.forEach(({ tokens, firstCell, keys }, index) => {
      const run = { tokens, firstToken, firstCell, keys, count: 1, stride: 0 };
      const result = this.#attention(queries, run, memory.masks[index]!);
      memory.placeAttention(result, firstToken);
      graph.expand(result);
      firstToken += tokens;
    });
    return memory.attention(this.scope.context);
  }

  /** Decoding sequences that lie `stride` cells apart. */
  #attendTogether(queries: Tensor, stride: number): Tensor {
    const { shape, memory } = this.parts;
    const [{ firstCell, keys }] = shape.sequences as [StepSequence];
    const count = shape.sequences.length;
    const run = { tokens: 1, firstToken: 0, firstCell, keys, count, stride };
    return this.#flat(this.#attention(queries, run, memory.commonMask!), count);
  }

  /** [heads · head width, tokens] of an attention result. */
  #flat(result: Tensor, tokens: number): Tensor {
    const { heads, headWidth } = this.hyperparameters;
    return this.scope.context.reshape2d(result, heads * headWidth, tokens);
  }

  /**
   * [head width, heads, tokens, count], in memory of its own: `count` sequences of `tokens` tokens each, their cells `stride` apart. Rows
   * and heads are filled up to what the kernels are fast at: with zeros in the queries, and, in keys and values, with
   * whatever lies behind a head: it is multiplied by those zeros, or left out of the result.
   */
  #attention(queries: Tensor, run: AttentionRun, mask: Tensor): Tensor {
    const { context } = this.scope;
    const { kv, hyperparameters } = this.parts;
    const { heads, kvHeads, headWidth } = hyperparameters;
    const { tokens, count } = run;
    const [, headStride, tokenStride] = queries.strides;
    const rows = queryRows(tokens);
    const width = attendedWidth(headWidth, rows);
    const unpadded = context.permute(
      context.view(
        queries,
        [headWidth, heads, tokens, count],
        [headStride, tokenStride, tokenStride * tokens],
        run.firstToken * tokenStride,
      ),
      [0, 2, 1, 3],
    );
    const padded = width > headWidth || rows > tokens;
    const mine = padded ? context.pad(unpadded, width - headWidth, rows - tokens) : unpadded;
    const cached = (cache: Tensor) => {
      const [, cellBytes] = cache.strides;
      return context.overlappingView(
        cache,
        [width, run.keys, kvHeads, count],
        [cellBytes, headWidth * halfBytes, run.stride * cellBytes],
        run.firstCell * cellBytes,
      );
    };
    const result = context.flashAttention(
      mine,
      cached(kv.keys[this.layer]!),
      cached(kv.values[this.layer]!),
      mask,
      1 / Math.sqrt(headWidth),
    );
    if (!padded) return result;
    const [, resultHead, resultToken, resultSequence] = result.strides;
    const wanted = context.view(
      result,
      [headWidth, heads, tokens, count],
      [resultHead, resultToken, resultSequence],
      0,
    );
    return context.contiguous2d(wanted, heads * headWidth, tokens * count);
  }

  /** [head width, heads, tokens] of a projection, in place. */
  #heads({ source, first }: Projection, heads: number): Tensor {
    const { headWidth } = this.hyperparameters;
    const [, tokenStride] = source.strides;
    return this.scope.context.view(
      source,
      [headWidth, heads, source.shape[1]],
      [headWidth * floatBytes, tokenStride],
      first * floatBytes,
    );
  }

  #someHeads(x: Tensor, first: number, count: number): Tensor {
    const [width, , tokens] = x.shape;
    const [, headStride, tokenStride] = x.strides;
    return this.scope.context.view(x, [width, count, tokens], [headStride, tokenStride], first * headStride);
  }

  /** [rows, tokens] of a projection, in place. */
  #rows({ source, first, rows }: Projection): Tensor {
    return this.scope.context.view(source, [rows, source.shape[1]], [source.strides[1]], first * floatBytes);
  }

  #split(x: Tensor, heads: number): Tensor {
    return this.scope.context.reshape3d(x, this.hyperparameters.headWidth, heads, x.shape[1]);
  }
}
