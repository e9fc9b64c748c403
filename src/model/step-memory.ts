import type { Backend } from "../ggml/backend.ts";
import { Buffer, tensorAlignment } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import { queryRows } from "./attention-shape.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { commonStride, type StepShape, tokenCount } from "./step.ts";

const floatBytes = 4;

/** The inputs of a step as arrays in native memory, in the order of its tokens; see {@link StepMemory}. */
export interface StepInputs {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly cells: BigInt64Array;
  readonly masks: readonly Uint16Array[];
  readonly outputs: Int32Array | undefined;
}

/**
 * The memory of a step that outlives its graphs: what the step is fed with, and the place where the attention of
 * each sequence leaves its rows, so that they lie side by side for the output projection without a copy.
 */
export class StepMemory {
  /** The memory of the inputs, to be filled before each run. */
  readonly fill: StepInputs;
  /** Token ids, I32. */
  readonly tokens: Tensor;
  /** Positions in their sequences, I32. */
  readonly positions: Tensor;
  /** KV cell of each token, I64. */
  readonly cells: Tensor;
  /** F16 [keys, query rows] a sequence: 0 where a token may look, -infinity elsewhere; 0 in rows without a token. */
  readonly masks: readonly Tensor[];
  /** All of them as one, [keys, 1, 1, sequences], where {@link commonStride} says so. */
  readonly commonMask: Tensor | undefined;
  /** Which tokens need logits, I32; absent when all do. */
  readonly outputs: Tensor | undefined;
  readonly #context: Context;
  readonly #inputs: Buffer;
  readonly #attended: Buffer;
  readonly #attendedWidth: number;
  readonly #tokenCount: number;

  constructor(backend: Backend, h: Hyperparameters, shape: StepShape) {
    const count = tokenCount(shape);
    const context = new Context(backend.native, { tensors: 5 + shape.sequences.length });
    this.#context = context;
    this.tokens = context.tensor("I32", [count]);
    this.positions = context.tensor("I32", [count]);
    this.cells = context.tensor("I64", [count]);
    const stride = commonStride(shape);
    const keys = shape.sequences[0]!.keys;
    this.commonMask = stride ? context.tensor("F16", [keys, 1, 1, count]) : undefined;
    this.masks = stride
      ? []
      : shape.sequences.map(({ keys, tokens }) => context.tensor("F16", [keys, queryRows(tokens)]));
    this.outputs = shape.outputs < count ? context.tensor("I32", [shape.outputs]) : undefined;
    const inputs = [this.tokens, this.positions, this.cells, ...this.masks, this.commonMask, this.outputs];
    this.#inputs = backend.allocate(inputs.filter((tensor) => tensor !== undefined));
    shape.sequences.forEach(({ keys, tokens }, index) => {
      this.masks[index]?.halves().fill(0, keys * tokens);
    });
    const common = this.commonMask?.halves();
    this.fill = {
      tokens: this.tokens.ints(),
      positions: this.positions.ints(),
      cells: this.cells.longs(),
      masks: common
        ? shape.sequences.map((_, index) => common.subarray(index * keys, (index + 1) * keys))
        : this.masks.map((mask) => mask.halves()),
      outputs: this.outputs?.ints(),
    };
    this.#tokenCount = count;
    this.#attendedWidth = h.heads * h.headWidth;
    const several = shape.sequences.length > 1 && stride === undefined;
    const bytes = several ? this.#attendedWidth * count * floatBytes + tensorAlignment : 0;
    this.#attended = Buffer.allocate(backend.native, backend.hostBufferType, bytes);
  }

  /** Makes an attention result for the tokens from `firstToken` on lie in the shared place. */
  placeAttention(result: Tensor, firstToken: number): void {
    this.#attended.placeAt(result, firstToken * this.#attendedWidth * floatBytes);
  }

  /** The attention results of all tokens, [heads · head width, tokens]. */
  attention(context: Context): Tensor {
    const all = context.tensor("F32", [this.#attendedWidth, this.#tokenCount]);
    this.#attended.placeAt(all, 0);
    return all;
  }

  dispose(): void {
    this.#context.dispose();
    this.#inputs.dispose();
    this.#attended.dispose();
  }
}
