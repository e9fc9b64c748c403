import { LlamaContext } from "../src/ggml/llama-context.ts";
import { LlamaModel } from "../src/ggml/llama-model.ts";
import type { Pooling } from "../src/model/pooling.ts";

/** libllama's vectors for one text after another, on the CPU, on one thread. */
export class EmbeddingPeer {
  readonly model: LlamaModel;
  readonly #context: LlamaContext;
  readonly #pooling: Pooling;

  static async load(path: string, pooling: Pooling, contextTokens = 512): Promise<EmbeddingPeer> {
    return new EmbeddingPeer(await LlamaModel.load(path), pooling, contextTokens);
  }

  private constructor(model: LlamaModel, pooling: Pooling, contextTokens: number) {
    this.model = model;
    this.#pooling = pooling;
    const options = { contextTokens, microBatchTokens: contextTokens, threads: 1, flashAttention: true };
    this.#context = new LlamaContext(model, { ...options, embeddings: pooling });
  }

  /** One vector, or with pooling `none` one a token. */
  embed(tokens: readonly number[]): Float32Array[] {
    const context = this.#context;
    context.clear();
    context.batch.clear();
    tokens.forEach((token, position) => {
      context.batch.add(token, position, 0, true);
    });
    context.run();
    if (this.#pooling !== "none") return [context.embedding({ sequence: 0 })];
    return tokens.map((_, index) => context.embedding({ index }));
  }

  dispose(): void {
    this.model.dispose();
  }
}

/** How far a vector is from what it should be: the length of the difference, over the length of the expected one. */
export function vectorDistance(own: Float32Array, expected: Float32Array): number {
  const length = (vector: Float32Array) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  if (own.length !== expected.length) return Number.POSITIVE_INFINITY;
  return length(own.map((value, index) => value - expected[index]!)) / length(expected);
}
