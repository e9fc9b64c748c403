import type { Backend } from "../ggml/backend.ts";
import { Buffer, tensorAlignment } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { type Masks, makeMasks, maskRows, maskTensors } from "./mask.ts";
import { type StepShape, tokenCount, windowShape } from "./step.ts";

const floatBytes = 4;

/** The inputs of a step as arrays in native memory, in the order of its tokens; see {@link StepMemory}. */
export interface StepInputs {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly cells: BigInt64Array;
  /** Of each sequence, [tokens][keys]; see {@link fillMaskRow}. */
  readonly masks: readonly Uint16Array[];
  /** The same for layers with a window, where the model has some, over the keys of {@link StepMemory.windowShape}. */
  readonly windowMasks: readonly Uint16Array[] | undefined;
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
  readonly masks: Masks;
  /** For layers with a window, where the model has some. */
  readonly windowMasks: Masks | undefined;
  /** What layers with a window look at. */
  readonly windowShape: StepShape;
  /** Which tokens need logits, I32; absent when all do. */
  readonly outputs: Tensor | undefined;
  readonly #context: Context;
  readonly #inputs: Buffer;
  readonly #attended: Buffer;
  readonly #attendedWidth: number;
  readonly #tokenCount: number;

  constructor(backend: Backend, h: Hyperparameters, shape: StepShape) {
    const count = tokenCount(shape);
    const context = new Context(backend.native, { tensors: 5 + 2 * maskTensors(shape) });
    this.#context = context;
    this.tokens = context.tensor("I32", [count]);
    this.positions = context.tensor("I32", [count]);
    this.cells = context.tensor("I64", [count]);
    // In an encoder every token sees all of its sequence.
    this.masks = h.encoder ? { each: [], common: undefined } : makeMasks(context, shape);
    this.windowShape = h.window ? windowShape(shape, h.window.tokens) : shape;
    this.windowMasks = h.window && makeMasks(context, this.windowShape);
    this.outputs = shape.outputs < count ? context.tensor("I32", [shape.outputs]) : undefined;
    const masks = [this.masks, this.windowMasks].flatMap((made) => (made ? [...made.each, made.common] : []));
    const inputs = [this.tokens, this.positions, this.cells, ...masks, this.outputs];
    this.#inputs = backend.allocate(inputs.filter((tensor) => tensor !== undefined));
    this.fill = {
      tokens: this.tokens.ints(),
      positions: this.positions.ints(),
      cells: this.cells.longs(),
      masks: h.encoder ? [] : maskRows(this.masks, shape),
      windowMasks: this.windowMasks && maskRows(this.windowMasks, this.windowShape),
      outputs: this.outputs?.ints(),
    };
    this.#tokenCount = count;
    this.#attendedWidth = h.heads * h.valueWidth;
    const several = shape.sequences.length > 1 && !this.masks.common;
    const bytes = several ? this.#attendedWidth * count * floatBytes + tensorAlignment : 0;
    this.#attended = Buffer.allocate(backend.native, backend.hostBufferType, bytes);
  }

  /** Makes an attention result for the tokens from `firstToken` on lie in the shared place. */
  placeAttention(result: Tensor, firstToken: number): void {
    this.#attended.placeAt(result, firstToken * this.#attendedWidth * floatBytes);
  }

  /** The attention results of all tokens, [heads · value width, tokens]. */
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
