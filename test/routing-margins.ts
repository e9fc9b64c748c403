import { GraphAllocator } from "../src/ggml/allocator.ts";
import { Context } from "../src/ggml/context.ts";
import type { Tensor } from "../src/ggml/tensor.ts";
import { Blocks, type ExpertPath } from "../src/model/blocks.ts";
import { expertsTogether } from "../src/model/experts-together.ts";
import type { Runtime } from "../src/model/forward.ts";
import type { Routing } from "../src/model/router.ts";
import { StepMemory } from "../src/model/step-memory.ts";
import type { LayerWeights } from "../src/model/weights.ts";
import { fillFirstStep, stepOf } from "./forward.ts";

const tensorRoom = 4096;
const floatBytes = 4;

/**
 * How clearly the router chooses: for each token of one sequence, the gap between the router logits of the last
 * expert that is chosen and the first that is not, the smallest of all layers. Infinite in a dense model.
 * Writes the KV cells from 0 on, which nobody else may hold.
 */
export async function routingMargins(runtime: Runtime, tokens: readonly number[]): Promise<number[]> {
  const { backend, family, weights, kv, contextTokens } = runtime;
  const { hyperparameters: h } = weights.layout;
  if (h.experts === 0) return tokens.map(() => Number.POSITIVE_INFINITY);
  const shape = stepOf(tokens.length);
  const memory = new StepMemory(backend, h, shape);
  fillFirstStep(memory, tokens, h);
  const context = new Context(backend.native, { tensors: tensorRoom, graphNodes: tensorRoom });
  const scope = { context, graph: context.graph(tensorRoom) };
  const kept = backend.allocate([context.tensor("F32", [h.experts, tokens.length, h.layers])]);
  const scores: Tensor[] = [];
  const experts: ExpertPath = {
    run(blocks, layer, x, normed, routing) {
      const mine = marginScores(context, layer, routing);
      kept.placeAt(mine, scores.length * h.experts * tokens.length * floatBytes);
      scope.graph.expand(mine);
      scores.push(mine);
      return expertsTogether.run(blocks, layer, x, normed, routing);
    },
  };
  const { globals } = weights;
  const parts = { hyperparameters: h, shape, memory, kv, globals, contextTokens, experts };
  const blocks = new Blocks(parts, scope);
  let x = blocks.embed();
  for (const [index, layer] of weights.layers.entries()) {
    blocks.layer = index;
    x = await family.layer(blocks, layer, x);
  }
  scope.graph.expand(x);
  const allocator = new GraphAllocator(backend.native, backend.hostBufferType);
  allocator.allocate(scope.graph);
  await backend.compute(scope.graph);
  const values = scores.map((tensor) => tensor.floats());
  const margins = tokens.map((_, token) =>
    Math.min(
      ...values.map((layer) => {
        const mine = layer.slice(token * h.experts, (token + 1) * h.experts).sort();
        return mine[h.experts - h.expertsUsed]! - (mine[h.experts - h.expertsUsed - 1] ?? -Infinity);
      }),
    ),
  );
  for (const resource of [allocator, kept, context, memory]) resource.dispose();
  return margins;
}

/**
 * The router's logits. Where a bias shifts their sigmoids, those, times what makes them as steep as logits: a sigmoid
 * rises by a quarter at most. In memory that is nobody else's.
 */
function marginScores(context: Context, layer: LayerWeights, { logits }: Routing): Tensor {
  const bias = layer.find("exp_probs_b.bias")?.tensor;
  if (!bias) return context.scale(logits, 1);
  return context.scale(context.add(context.sigmoid(logits), bias), 4);
}
