import type { Backend } from "../ggml/backend.ts";
import { Buffer } from "../ggml/buffer.ts";
import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Scope } from "./blocks.ts";
import type { Hyperparameters } from "./hyperparameters.ts";

const elementBytes = 4;

/**
 * Where steps leave what their routers said and chose, to be recorded: memory of its own, which the graphs' working
 * memory does not reuse. The layer that has no output but that of tokens with logits is run for all tokens then.
 */
export class RoutingTap {
  readonly #h: Hyperparameters;
  readonly #buffer: Buffer;
  readonly #maxTokens: number;

  /** @param maxTokens the most tokens of a step */
  constructor(backend: Backend, h: Hyperparameters, maxTokens: number) {
    this.#h = h;
    this.#maxTokens = maxTokens;
    const bytes = (h.layers - h.denseLayers) * this.#layerBytes;
    this.#buffer = Buffer.allocate(backend.native, backend.hostBufferType, bytes);
  }

  /**
   * Adds to a graph what copies the routing of its layer here.
   * @param logits F32 [experts, tokens]
   * @param chosen I32 [expertsUsed, tokens]
   */
  keep({ context, graph }: Scope, layer: number, logits: Tensor, chosen: Tensor): void {
    const [, tokens] = logits.shape;
    graph.expand(context.copy(logits, this.#leaf(context, "F32", layer, this.#h.experts, tokens, 0)));
    const behind = this.#h.experts * this.#maxTokens * elementBytes;
    graph.expand(
      context.copy(chosen, this.#leaf(context, "I32", layer, this.#h.expertsUsed, tokens, behind)),
    );
  }

  /** What the router of a layer with experts said in the latest step, F32 [tokens][experts]. Valid until the next. */
  logits(layer: number, tokens: number): Float32Array {
    const bytes = this.#buffer.bytes(this.#start(layer), this.#h.experts * tokens * elementBytes);
    return new Float32Array(bytes.buffer, bytes.byteOffset, this.#h.experts * tokens);
  }

  /** What it chose, I32 [tokens][expertsUsed]. */
  chosen(layer: number, tokens: number): Int32Array {
    const offset = this.#start(layer) + this.#h.experts * this.#maxTokens * elementBytes;
    const bytes = this.#buffer.bytes(offset, this.#h.expertsUsed * tokens * elementBytes);
    return new Int32Array(bytes.buffer, bytes.byteOffset, this.#h.expertsUsed * tokens);
  }

  dispose(): void {
    this.#buffer.dispose();
  }

  get #layerBytes(): number {
    return (this.#h.experts + this.#h.expertsUsed) * this.#maxTokens * elementBytes;
  }

  #start(layer: number): number {
    return (layer - this.#h.denseLayers) * this.#layerBytes;
  }

  #leaf(
    context: Context,
    type: "F32" | "I32",
    layer: number,
    rows: number,
    tokens: number,
    behind: number,
  ): Tensor {
    const tensor = context.tensor(type, [rows, tokens]);
    this.#buffer.placeAt(tensor, this.#start(layer) + behind);
    return tensor;
  }
}
