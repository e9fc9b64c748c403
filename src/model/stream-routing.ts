import { availableParallelism } from "node:os";
import type { RoutingTrace } from "../experts/locality.ts";
import { GraphAllocator } from "../ggml/allocator.ts";
import { Backend } from "../ggml/backend.ts";
import { Context } from "../ggml/context.ts";
import { loadNative } from "../ggml/library.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import type { TopicalEmbeddings } from "./topical-embeddings.ts";
import { topicOf } from "./topics.ts";

/**
 * How a stream of tokens is routed, for any share of the topics in the embeddings. No model is run for it: where
 * embeddings outweigh what the layers add, a layer's router sees the normalised embedding, and normalising changes no
 * ranking. So the routers' logits of the topics and of the tokens' own parts are computed once, and added for each share.
 */
export class StreamRouting {
  readonly #h: Hyperparameters;
  readonly #topics: number;
  /** Tokens of the stream, and the row of each in the logits of tokens' own parts. */
  readonly #stream: readonly number[];
  readonly #rows: ReadonlyMap<number, number>;
  /** Of each layer, [topics, then tokens][experts]. */
  readonly #logits: readonly Float32Array[];

  /** @param routers of each layer, F32 [width, experts] */
  static async compute(
    h: Hyperparameters,
    routers: readonly Float32Array[],
    embeddings: TopicalEmbeddings,
    topics: number,
    stream: readonly number[],
  ): Promise<StreamRouting> {
    const tokens = [...new Set(stream)];
    const { width } = h;
    const parts = new Float32Array((topics + tokens.length) * width);
    for (let topic = 0; topic < topics; topic++) parts.set(embeddings.topic(topic), topic * width);
    tokens.forEach((token, index) => {
      const row = (topics + index) * width;
      embeddings.own(token, parts.subarray(row, row + width));
    });
    const logits = await multiply(routers, parts, width);
    const rows = new Map(tokens.map((token, index) => [token, topics + index]));
    return new StreamRouting(h, topics, stream, rows, logits);
  }

  private constructor(
    h: Hyperparameters,
    topics: number,
    stream: readonly number[],
    rows: ReadonlyMap<number, number>,
    logits: readonly Float32Array[],
  ) {
    this.#h = h;
    this.#topics = topics;
    this.#stream = stream;
    this.#rows = rows;
    this.#logits = logits;
  }

  /** The routing of the stream, with this share of the topics in the embeddings. */
  at(share: number): RoutingTrace {
    const { layers, experts, expertsUsed: used } = this.#h;
    const [ofTopic, ofToken] = [Math.sqrt(share), Math.sqrt(1 - share)];
    const chosen = new Uint16Array(this.#stream.length * layers * used);
    const scores = new Float32Array(experts);
    this.#stream.forEach((token, index) => {
      const topicRow = topicOf(token, this.#topics) * experts;
      const tokenRow = this.#rows.get(token)! * experts;
      this.#logits.forEach((logits, layer) => {
        for (let expert = 0; expert < experts; expert++) {
          scores[expert] = ofTopic * logits[topicRow + expert]! + ofToken * logits[tokenRow + expert]!;
        }
        const start = (index * layers + layer) * used;
        takeBest(scores, chosen.subarray(start, start + used));
      });
    });
    return { tokens: this.#stream.length, layers, experts, used, chosen };
  }
}

/** Fills `best` with the indices of the largest scores, the largest first. */
function takeBest(scores: Float32Array, best: Uint16Array): void {
  let filled = 0;
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index]!;
    if (filled === best.length && score <= scores[best[filled - 1]!]!) continue;
    let place = filled < best.length ? filled++ : filled - 1;
    for (; place > 0 && scores[best[place - 1]!]! < score; place--) best[place] = best[place - 1]!;
    best[place] = index;
  }
}

/** Every router times every row of `rows`, [rows][width]: of each router, [rows][experts]. */
async function multiply(routers: readonly Float32Array[], rows: Float32Array, width: number) {
  const backend = new Backend(loadNative(), { threads: availableParallelism() });
  const context = new Context(backend.native, { tensors: 4, graphNodes: 4 });
  const allocator = new GraphAllocator(backend.native, backend.hostBufferType);
  const matrix = context.tensor("F32", [width, routers[0]!.length / width]);
  const input = context.tensor("F32", [width, rows.length / width]);
  const buffer = backend.allocate([matrix, input]);
  const products: Float32Array[] = [];
  try {
    input.floats().set(rows);
    const graph = context.graph(4);
    const product = context.mulMat(matrix, input);
    graph.expand(product);
    allocator.allocate(graph);
    for (const router of routers) {
      matrix.floats().set(router);
      await backend.compute(graph);
      products.push(product.floats().slice());
    }
  } finally {
    for (const resource of [allocator, buffer, context, backend]) resource.dispose();
  }
  return products;
}
