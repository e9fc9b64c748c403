import { Buffer, tensorAlignment } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Place } from "../ggml/place.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Scope } from "./blocks.ts";
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
  /** What the step is fed with, in one order for steps of equal shape. */
  readonly inputs: readonly Tensor[];
  readonly #memory: { dispose(): void };
  readonly #shape: StepShape;
  readonly #encoder: Hyperparameters["encoder"];
  #fill: StepInputs | undefined;
  /** None where results are joined by the graph. */
  readonly #attended: Buffer | undefined;
  /** Whether attention is filled up to what the processor's kernels are fast at; a device's have shapes of their own. */
  readonly fillsUp: boolean;
  readonly #attendedWidth: number;
  readonly #tokenCount: number;

  /** @param place whose memory it is */
  constructor(place: Place, h: Hyperparameters, shape: StepShape) {
    const count = tokenCount(shape);
    const context = new Context(place.native, { tensors: 5 + 2 * maskTensors(shape) });
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
    this.inputs = inputs.filter((tensor) => tensor !== undefined);
    this.#memory = place.allocate(this.inputs);
    this.#shape = shape;
    this.#encoder = h.encoder;
    this.#tokenCount = count;
    this.fillsUp = place.ordered;
    this.#attendedWidth = h.heads * h.valueWidth;
    const several = shape.sequences.length > 1 && !this.masks.common;
    const bytes = several ? this.#attendedWidth * count * floatBytes + tensorAlignment : 0;
    this.#attended = place.ordered ? Buffer.allocate(place.native, place.bufferType, bytes) : undefined;
  }

  /** The memory of the inputs, to be filled before each run; of a step in the processor's memory. */
  get fill(): StepInputs {
    this.#fill ??= {
      tokens: this.tokens.ints(),
      positions: this.positions.ints(),
      cells: this.cells.longs(),
      masks: this.#encoder ? [] : maskRows(this.masks, this.#shape),
      windowMasks: this.windowMasks && maskRows(this.windowMasks, this.windowShape),
      outputs: this.outputs?.ints(),
    };
    return this.#fill;
  }

  /** The attention results of all sequences, in the order of their tokens: [heads · value width, tokens]. */
  sideBySide({ context, graph }: Scope, results: readonly Tensor[]): Tensor {
    const { sequences } = this.#shape;
    if (!this.#attended) {
      const rows = results.map((result, index) =>
        context.reshape2d(result, this.#attendedWidth, sequences[index]!.tokens),
      );
      return rows.reduce((all, next) => context.concat(all, next, 1));
    }
    let firstToken = 0;
    results.forEach((result, index) => {
      this.#attended!.placeAt(result, firstToken * this.#attendedWidth * floatBytes);
      graph.expand(result);
      firstToken += sequences[index]!.tokens;
    });
    const all = context.tensor("F32", [this.#attendedWidth, this.#tokenCount]);
    this.#attended.placeAt(all, 0);
    return all;
  }

  dispose(): void {
    this.#context.dispose();
    this.#memory.dispose();
    this.#attended?.dispose();
  }
}
