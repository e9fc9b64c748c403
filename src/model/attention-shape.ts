import { StowageError } from "../errors.ts";
import { tensorTypes } from "../ggml/types.ts";
import type { KvShape } from "../kv/tensors.ts";
import { defaultKvTypes, isQuantised, type KvTypes } from "../kv/types.ts";
import type { Hyperparameters } from "./hyperparameters.ts";

/** ggml's attention on the CPU goes tile by tile from so many rows on, and row by row below. */
const tileRows = 64;
/** From so many rows on, a tile that is filled up takes less time than the rows one by one (measured: 10 to 20). */
export const leastTileRows = 16;
/** Row by row, dot products of F16 take so many elements at a time and the rest one by one (AVX-512; others 32). */
const dotElements = 64;

/** Rows of queries that attention is given for so many tokens of a sequence. */
export function queryRows(tokens: number): number {
  return tokens >= leastTileRows && tokens < tileRows ? tileRows : tokens;
}

/** Elements of a head that attention is given for so many rows. */
export function attendedWidth(headWidth: number, rows: number): number {
  return rows < tileRows ? Math.ceil(headWidth / dotElements) * dotElements : headWidth;
}

/**
 * The KV cache of a model. In F16 it has a tail that holds what is read past the last head of a cell; quantised heads
 * are whole blocks, which nothing reads past.
 * @throws StowageError kv_type when heads are no whole blocks of a type
 */
export function kvShape(h: Hyperparameters, cells: number, types: KvTypes = defaultKvTypes): KvShape {
  const { layers, kvHeads, headWidth, valueWidth } = h;
  const heads = [
    [types.keys, headWidth],
    [types.values, valueWidth],
  ] as const;
  for (const [type, width] of heads) {
    const { block } = tensorTypes[type];
    if (width % block !== 0) throw new StowageError("kv_type", { type: type.toLowerCase(), block, width });
  }
  const tailOf = (width: number) => (isQuantised(types) ? 0 : attendedWidth(width, 1) - width);
  return {
    // Encoders keep nothing.
    layers: h.encoder ? 0 : layers,
    width: kvHeads * headWidth,
    valueWidth: h.latent?.absorbed ? 0 : kvHeads * valueWidth,
    cells,
    tail: tailOf(headWidth),
    valueTail: tailOf(valueWidth),
    types,
  };
}
