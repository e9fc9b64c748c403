import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import { queryRows } from "./attention-shape.ts";
import { commonStride, type StepShape } from "./step.ts";

/** F16 bits of minus infinity: a key that a token may not look at. */
const masked = 0xfc00;

/** Which keys the tokens of a step may look at: 0 there, -infinity elsewhere. */
export interface Masks {
  /** F16 [keys, query rows] a sequence; 0 in rows without a token. Empty where {@link Masks.common} is there. */
  readonly each: readonly Tensor[];
  /** All of them as one, [keys, 1, 1, sequences], where {@link commonStride} says so. */
  readonly common: Tensor | undefined;
}

/** Tensors without memory yet. */
export function makeMasks(context: Context, shape: StepShape): Masks {
  const { sequences } = shape;
  if (commonStride(shape) !== undefined) {
    return { each: [], common: context.tensor("F16", [sequences[0]!.keys, 1, 1, sequences.length]) };
  }
  const each = sequences.map(({ keys, tokens }) => context.tensor("F16", [keys, queryRows(tokens)]));
  return { each, common: undefined };
}

/** How many tensors {@link makeMasks} makes at most. */
export function maskTensors(shape: StepShape): number {
  return shape.sequences.length;
}

/** The mask of each sequence as an array in native memory, [tokens][keys], with 0 behind the tokens' rows. */
export function maskRows({ each, common }: Masks, shape: StepShape): Uint16Array[] {
  const all = common?.halves();
  return shape.sequences.map(({ keys, tokens }, index) => {
    if (all) return all.subarray(index * keys, (index + 1) * keys);
    const rows = each[index]!.halves();
    rows.fill(0, keys * tokens);
    return rows;
  });
}

/**
 * Fills in what the token at `position` may look at: itself and what comes before it.
 * @param row of the token in the mask
 * @param window it looks at so many of the latest tokens, itself among them; all by default
 */
export function fillMaskRow(
  mask: Uint16Array,
  row: number,
  keys: number,
  position: number,
  window = Number.POSITIVE_INFINITY,
): void {
  const start = row * keys;
  const first = Math.max(0, position + 1 - window);
  mask.fill(masked, start, start + first);
  mask.fill(0, start + first, start + position + 1);
  mask.fill(masked, start + position + 1, start + keys);
}
