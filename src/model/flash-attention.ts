import type { Tensor } from "../ggml/tensor.ts";
import { rowBytes } from "../ggml/types.ts";
import { attendedWidth, leastTileRows, queryRows } from "./attention-shape.ts";
import type { Blocks } from "./blocks.ts";
import { isWindowed } from "./hyperparameters.ts";
import { commonStride, type StepSequence, type StepShape } from "./step.ts";

/** What one attention call covers: tokens from `firstToken` on, keys from `firstCell` on. */
interface AttentionRun {
  readonly tokens: number;
  readonly firstToken: number;
  readonly firstCell: number;
  readonly keys: number;
  readonly count: number;
  readonly stride: number;
  readonly sinks: Tensor | undefined;
}

/**
 * One flash-attention call a sequence, so that neighbours in the batch never change a sequence's numbers; or one
 * for all where that gives the same.
 * @param queries [head width, heads, tokens]
 * @param sinks F32 [heads], see `Context.flashAttention`
 * @returns [heads · value width, tokens]
 */
export function attend(blocks: Blocks, queries: Tensor, sinks?: Tensor): Tensor {
  const { memory } = blocks.parts;
  const windowed = isWindowed(blocks.hyperparameters, blocks.layer);
  const shape = windowed ? memory.windowShape : blocks.parts.shape;
  const masks = windowed ? memory.windowMasks! : memory.masks;
  const stride = commonStride(shape);
  if (stride !== undefined) return attendTogether(blocks, queries, shape, stride, masks.common!, sinks);
  const [only] = shape.sequences as [StepSequence];
  if (shape.sequences.length === 1) {
    const run = { ...only, firstToken: 0, count: 1, stride: 0, sinks };
    return flat(blocks, call(blocks, queries, run, masks.each[0]!), only.tokens);
  }
  let firstToken = 0;
  const results = shape.sequences.map(({ tokens, firstCell, keys }, index) => {
    const run = { tokens, firstToken, firstCell, keys, count: 1, stride: 0, sinks };
    firstToken += tokens;
    return call(blocks, queries, run, masks.each[index]!);
  });
  return memory.sideBySide(blocks.scope, results);
}

/** Decoding sequences that lie `stride` cells apart. */
function attendTogether(
  blocks: Blocks,
  queries: Tensor,
  shape: StepShape,
  stride: number,
  mask: Tensor,
  sinks: Tensor | undefined,
): Tensor {
  const [{ firstCell, keys }] = shape.sequences as [StepSequence];
  const count = shape.sequences.length;
  const run = { tokens: 1, firstToken: 0, firstCell, keys, count, stride, sinks };
  return flat(blocks, call(blocks, queries, run, mask), count);
}

/** [heads · value width, tokens] of an attention result. */
function flat(blocks: Blocks, result: Tensor, tokens: number): Tensor {
  const { heads, valueWidth } = blocks.hyperparameters;
  return blocks.scope.context.reshape2d(result, heads * valueWidth, tokens);
}

/**
 * [value width, heads, tokens, count], in memory of its own: `count` sequences of `tokens` tokens each, their cells `stride` apart. Rows
 * and heads are filled up to what the kernels are fast at: with zeros in the queries, and, in keys and values, with
 * whatever lies behind a head: it is multiplied by those zeros, or left out of the result.
 */
function call(blocks: Blocks, queries: Tensor, run: AttentionRun, mask: Tensor): Tensor {
  const { context } = blocks.scope;
  const { kv, hyperparameters, memory } = blocks.parts;
  const { heads, kvHeads, headWidth, valueWidth } = hyperparameters;
  const { tokens, count } = run;
  const [, headStride, tokenStride] = queries.strides;
  const rows = memory.fillsUp ? queryRows(tokens) : tokens;
  const filledUp = (width: number) => (kv.quantised || !memory.fillsUp ? width : attendedWidth(width, rows));
  const width = filledUp(headWidth);
  const unpadded = context.permute(
    context.view(
      queries,
      [headWidth, heads, tokens, count],
      [headStride, tokenStride, tokenStride * tokens],
      run.firstToken * tokenStride,
    ),
    [0, 2, 1, 3],
  );
  const padded = width > headWidth || filledUp(valueWidth) > valueWidth || rows > tokens;
  const mine = padded ? context.pad(unpadded, width - headWidth, rows - tokens) : unpadded;
  const cached = (cache: Tensor, width: number) => {
    const { source, firstCell } =
      kv.quantised && rows >= leastTileRows ? inFloats(blocks, cache, run) : { source: cache, ...run };
    const [, cellBytes] = source.strides;
    const extents = [filledUp(width), run.keys, kvHeads, count];
    const strides = [cellBytes, rowBytes(source.type, width), run.stride * cellBytes];
    const offset = firstCell * cellBytes;
    return filledUp(width) > width
      ? context.overlappingView(source, extents, strides, offset)
      : context.view(source, extents, strides, offset);
  };
  const result = context.flashAttention(
    mine,
    cached(kv.keys[blocks.layer]!, headWidth),
    cached(kv.values[blocks.layer]!, valueWidth),
    mask,
    hyperparameters.attentionScale ?? 1 / Math.sqrt(headWidth),
    { softCap: hyperparameters.attentionSoftCap, sinks: run.sinks },
  );
  if (!padded) return result;
  const [, resultHead, resultToken, resultSequence] = result.strides;
  const wanted = context.view(
    result,
    [valueWidth, heads, tokens, count],
    [resultHead, resultToken, resultSequence],
    0,
  );
  return context.contiguous2d(wanted, heads * valueWidth, tokens * count);
}

/**
 * The cells of one sequence as F32. Only floats have tiles: bringing quantised cells there once takes a small part of
 * what rows one by one would.
 */
function inFloats({ scope: { context } }: Blocks, cache: Tensor, run: AttentionRun) {
  const [, cellBytes] = cache.strides;
  const cells = context.view(cache, [cache.shape[0], run.keys], [cellBytes], run.firstCell * cellBytes);
  return { source: context.cast(cells, "F32"), firstCell: 0 };
}
