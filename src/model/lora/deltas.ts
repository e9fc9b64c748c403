import type { Context } from "../../ggml/context.ts";
import type { Tensor } from "../../ggml/tensor.ts";
import type { StepShape } from "../step.ts";
import type { AdaptedRows } from "./adapted-rows.ts";
import type { AdapterSet, Adapters } from "./adapters.ts";

const floatBytes = 4;
/** Graph tensors that one adapter adds to one product for one range of rows. */
const tensorsADelta = 6;

/** Makes a · x of some rows of x: [rank, count], or [rank, 1, count] where they stay apart. */
export type Factors = (a: Tensor, range: AdaptedRows) => Tensor;

/** A product of activations with a weight. */
export interface AdaptedProduct {
  /** [m, rows]; may hold the rows of other weights too. */
  readonly product: Tensor;
  /** The weight's first element in a row of the product. */
  readonly firstRow: number;
  /** The weight's name in the model's file. */
  readonly weight: string;
  readonly ranges: readonly AdaptedRows[];
  readonly factors: Factors;
}

/** The product, with scale · b · (a · x) added to the rows that have adapters for its weight; sums as in libllama. */
export function withDeltas(context: Context, { product, firstRow, weight, ranges, factors }: AdaptedProduct) {
  const [, rowBytes] = product.strides;
  let sum = product;
  for (const range of ranges) {
    const offset = range.first * rowBytes + firstRow * floatBytes;
    const all = rowBytes * range.count;
    for (const { adapter, scale } of range.set.uses) {
      const pair = adapter.weights.get(weight);
      if (!pair) continue;
      const delta = context.scale(context.mulMat(pair.b, factors(pair.a, range)), pair.scale * scale);
      sum = context.addInto(sum, delta, [rowBytes, range.apart ? rowBytes : all, all], offset);
    }
  }
  return sum;
}

/** Some rows of x [k, rows]: [k, count], or [k, 1, count] where they stay apart. */
export function rowsIn(context: Context, x: Tensor, { first, count, apart }: AdaptedRows): Tensor {
  const [k] = x.shape;
  const [, rowBytes] = x.strides;
  return apart
    ? context.view(x, [k, 1, count], [rowBytes, rowBytes], first * rowBytes)
    : context.view(x, [k, count], [rowBytes], first * rowBytes);
}

/** Graph tensors that the adapters of a step of this shape take in one layer. */
export function deltaTensorRoom({ sequences }: StepShape): number {
  const pairs = sequences.map(({ adapters }) => (adapters ? mostPairs(adapters) : 0));
  return tensorsADelta * pairs.reduce((sum, count) => sum + count, 0);
}

/** The most that they can take for one sequence. */
export function adapterTensorRoom(adapters: Adapters | undefined): number {
  return tensorsADelta * (adapters?.mostPairs ?? 0);
}

/** The most pairs that a set has in one layer, or outside of layers. */
function mostPairs({ uses }: AdapterSet): number {
  return uses.reduce((sum, { adapter }) => sum + adapter.mostPairs, 0);
}
