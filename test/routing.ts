import type { RoutingTrace } from "../src/experts/locality.ts";
import { GraphAllocator } from "../src/ggml/allocator.ts";
import { Context } from "../src/ggml/context.ts";
import type { Tensor } from "../src/ggml/tensor.ts";
import { Blocks, type ExpertPath } from "../src/model/blocks.ts";
import { expertsTogether } from "../src/model/experts-together.ts";
import type { Runtime } from "../src/model/forward.ts";
import { StepMemory } from "../src/model/step-memory.ts";
import type { LayerWeights } from "../src/model/weights.ts";
import { fillFirstStep, stepOf } from "./forward.ts";

const tensorRoom = 8192;

/** What the forward pass itself routed one sequence to. */
export interface MeasuredRouting {
  readonly trace: RoutingTrace;
  /**
   * For each layer but the first, the share of its choice that a look ahead names: the layer's norm and router on
   * what the layer before sees.
   */
  readonly lookAhead: readonly number[];
  /** For each layer, the share of its choice that its norm and router give on the embedding alone. */
  readonly fromEmbedding: readonly number[];
}

/** Runs one sequence, in the KV cells from 0 on, which nobody else may hold. */
export async function routingOf(runtime: Runtime, tokens: readonly number[]): Promise<MeasuredRouting> {
  const { backend, family, weights, kv, contextTokens } = runtime;
  const { hyperparameters: h } = weights.layout;
  const memory = new StepMemory(backend, h, stepOf(tokens.length));
  fillFirstStep(memory, tokens, h);
  const context = new Context(backend.native, { tensors: tensorRoom, graphNodes: tensorRoom });
  const scope = { context, graph: context.graph(tensorRoom) };
  const kept = backend.allocate([context.tensor("I32", [h.experts, tokens.length, 3 * h.layers])]);
  const rankings: Tensor[] = [];
  const foreseen: Tensor[] = [];
  const embedded: Tensor[] = [];
  const keep = (list: Tensor[], ranking: Tensor) => {
    const place = rankings.length + foreseen.length + embedded.length;
    kept.placeAt(ranking, place * ranking.byteLength);
    scope.graph.expand(ranking);
    list.push(ranking);
  };
  /** What the router of a layer would choose for `x`. */
  const route = (layer: LayerWeights, x: Tensor) => {
    const normed = blocks.norm(x, layer, "ffn_norm");
    return context.argsort(blocks.product(layer, "ffn_gate_inp.weight", normed));
  };
  const experts: ExpertPath = {
    run(blocks, layer, x, normed, routing) {
      keep(rankings, routing.ranking);
      keep(embedded, route(layer, embeddings));
      const next = weights.layers[blocks.layer + 1];
      if (next) keep(foreseen, route(next, x));
      return expertsTogether.run(blocks, layer, x, normed, routing);
    },
  };
  const { globals } = weights;
  const shape = stepOf(tokens.length);
  const parts = { hyperparameters: h, shape, memory, kv, globals, contextTokens, experts };
  const blocks = new Blocks(parts, scope);
  const embeddings = blocks.embed();
  let x = embeddings;
  for (const [index, layer] of weights.layers.entries()) {
    blocks.layer = index;
    x = await family.layer(blocks, layer, x);
  }
  scope.graph.expand(x);
  const allocator = new GraphAllocator(backend.native, backend.hostBufferType);
  allocator.allocate(scope.graph);
  await backend.compute(scope.graph);
  const first = (ranking: Tensor, token: number) =>
    ranking.ints().subarray(token * h.experts, token * h.experts + h.expertsUsed);
  const chosen = Uint16Array.from(
    tokens.flatMap((_, token) => rankings.flatMap((ranking) => [...first(ranking, token)])),
  );
  const agreement = (guess: Tensor, ranking: Tensor) => {
    const hits = tokens.map((_, token) => {
      const named = new Set(first(guess, token));
      return first(ranking, token).filter((expert) => named.has(expert)).length;
    });
    return hits.reduce((sum, count) => sum + count, 0) / (tokens.length * h.expertsUsed);
  };
  const lookAhead = foreseen.map((guess, layer) => agreement(guess, rankings[layer + 1]!));
  const fromEmbedding = embedded.map((guess, layer) => agreement(guess, rankings[layer]!));
  for (const resource of [allocator, kept, context, memory]) resource.dispose();
  const { layers, experts: all, expertsUsed: used } = h;
  return { trace: { tokens: tokens.length, layers, experts: all, used, chosen }, lookAhead, fromEmbedding };
}

/** Variance of the experts' uses over that of independent, equally likely choices: 1 by chance alone. */
export function dispersionOf(trace: RoutingTrace): number {
  const even = (trace.tokens * trace.used) / trace.experts;
  const uses = usesOf(trace);
  const variance = uses.reduce((sum, count) => sum + (count - even) ** 2, 0) / uses.length;
  return variance / (even * (1 - trace.used / trace.experts));
}

/** How often each expert is used, [layers][experts]. */
export function usesOf({ layers, experts, used, chosen }: RoutingTrace): Uint32Array {
  const uses = new Uint32Array(layers * experts);
  chosen.forEach((expert, index) => {
    uses[(Math.floor(index / used) % layers) * experts + expert]!++;
  });
  return uses;
}
