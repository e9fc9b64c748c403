import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";

const floatBytes = 4;

/** What one weight gives: some rows of a product that may have more, `rows` elements a token, from element `first` on. */
export interface Projection {
  readonly source: Tensor;
  readonly first: number;
  readonly rows: number;
}

/** [rows, tokens] of a projection, in place. */
export function rowsOf(context: Context, { source, first, rows }: Projection): Tensor {
  if (rows === source.shape[0]) return source;
  return context.view(source, [rows, source.shape[1]], [source.strides[1]], first * floatBytes);
}

/** [head width, heads, tokens] from a projection's first element on, in place; may reach into its neighbours. */
export function headsOf(
  context: Context,
  { source, first }: Projection,
  headWidth: number,
  heads: number,
): Tensor {
  const [, tokenStride] = source.strides;
  return context.view(
    source,
    [headWidth, heads, source.shape[1]],
    [headWidth * floatBytes, tokenStride],
    first * floatBytes,
  );
}
