import type { Backend } from "../ggml/backend.ts";
import { Buffer } from "../ggml/buffer.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Blocks, Scope } from "./blocks.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import type { Routing } from "./router.ts";
import type { ModelWeights } from "./weights.ts";

const elementBytes = 4;

/** What is kept of a layer, each [elements, tokens]. */
type Kind = "logits" | "chosen" | "guessed" | "early";

/**
 * Where steps leave what their routers said and chose, to be recorded: memory of its own, which the graphs' working
 * memory does not reuse. The layer that has no output but that of tokens with logits is run for all tokens then.
 */
export class RoutingTap {
  readonly #h: Hyperparameters;
  readonly #weights: ModelWeights;
  readonly #buffer: Buffer;
  readonly #maxTokens: number;

  /** @param maxTokens the most tokens of a step */
  constructor(backend: Backend, weights: ModelWeights, maxTokens: number) {
    this.#h = weights.layout.hyperparameters;
    this.#weights = weights;
    this.#maxTokens = maxTokens;
    const bytes = (this.#h.layers - this.#h.denseLayers) * this.#layerBytes;
    this.#buffer = Buffer.allocate(backend.native, backend.hostBufferType, bytes);
  }

  /**
   * Adds to a graph what copies the routing of its layer here, what the next layer's router would choose for x, and what
   * the layer's own would have chosen for its input.
   * @param x the residual stream that goes to the experts, [width, tokens]
   */
  keep({ scope, layer, input }: Blocks, { logits, ranking, rankingAt }: Routing, x: Tensor): void {
    this.#copy(scope, layer, "logits", logits);
    this.#copy(scope, layer, "chosen", this.#best(scope, ranking));
    const next = this.#weights.layers[layer + 1];
    if (next) this.#copy(scope, layer, "guessed", this.#best(scope, rankingAt(next, x)));
    const own = this.#weights.layers[layer]!;
    if (input) this.#copy(scope, layer, "early", this.#best(scope, rankingAt(own, input)));
  }

  /** What the router of a layer with experts said in the latest step, F32 [tokens][experts]. Valid until the next. */
  logits(layer: number, tokens: number): Float32Array {
    const { buffer, byteOffset } = this.#bytes(layer, "logits", tokens);
    return new Float32Array(buffer, byteOffset, this.#h.experts * tokens);
  }

  /** What it chose, I32 [tokens][expertsUsed]. */
  chosen(layer: number, tokens: number): Int32Array {
    const { buffer, byteOffset } = this.#bytes(layer, "chosen", tokens);
    return new Int32Array(buffer, byteOffset, this.#h.expertsUsed * tokens);
  }

  /** What the next layer's router would have chosen, I32 [tokens][expertsUsed]; 0 at the last layer. */
  guessed(layer: number, tokens: number): Int32Array {
    const length = this.#h.expertsUsed * tokens;
    if (layer === this.#h.layers - 1) return new Int32Array(length);
    const { buffer, byteOffset } = this.#bytes(layer, "guessed", tokens);
    return new Int32Array(buffer, byteOffset, length);
  }

  /** What its own router would have chosen before its attention, I32 [tokens][expertsUsed]. */
  early(layer: number, tokens: number): Int32Array {
    const { buffer, byteOffset } = this.#bytes(layer, "early", tokens);
    return new Int32Array(buffer, byteOffset, this.#h.expertsUsed * tokens);
  }

  dispose(): void {
    this.#buffer.dispose();
  }

  get #layerBytes(): number {
    return (this.#h.experts + 3 * this.#h.expertsUsed) * this.#maxTokens * elementBytes;
  }

  #bytes(layer: number, kind: Kind, tokens: number): Uint8Array<ArrayBuffer> {
    return this.#buffer.bytes(this.#offset(layer, kind), this.#elements(kind) * tokens * elementBytes);
  }

  #elements(kind: Kind): number {
    return kind === "logits" ? this.#h.experts : this.#h.expertsUsed;
  }

  #offset(layer: number, kind: Kind): number {
    const { experts, expertsUsed } = this.#h;
    const before = {
      logits: 0,
      chosen: experts,
      guessed: experts + expertsUsed,
      early: experts + 2 * expertsUsed,
    };
    return (layer - this.#h.denseLayers) * this.#layerBytes + before[kind] * this.#maxTokens * elementBytes;
  }

  #best({ context }: Scope, ranking: Tensor): Tensor {
    const [, tokens] = ranking.shape;
    return context.view(ranking, [this.#h.expertsUsed, tokens], [ranking.strides[1]], 0);
  }

  #copy({ context, graph }: Scope, layer: number, kind: Kind, from: Tensor): void {
    const place = context.tensor(kind === "logits" ? "F32" : "I32", [this.#elements(kind), from.shape[1]]);
    this.#buffer.placeAt(place, this.#offset(layer, kind));
    graph.expand(context.copy(from, place));
  }
}
