import type { PolicyShape, StepToken } from "./policy.ts";

/**
 * Of a longer embedding, so many components are taken, evenly spread. On the sample model (256 components) a cosine is off by
 * 0.04 (median), 0.09 (95 %); wider models are off by more.
 */
export const embeddingWidth = 128;

/**
 * What tokens mean together: the mean of their embeddings, of length 1. Where no model is at hand, in replay, each token
 * has a direction of its own by chance; then two means are alike as far as they have words in common.
 * @param tokens one at least
 */
export function meanEmbedding(tokens: readonly StepToken[], { embedding }: PolicyShape): Float32Array {
  const mean = new Float32Array(embeddingWidth);
  for (const { token } of tokens) {
    const row = embedding?.(token);
    if (row) addSpread(row, mean);
    else addDirection(token, mean);
  }
  let square = 0;
  for (const value of mean) square += value * value;
  return square > 0 ? mean.map((value) => value / Math.sqrt(square)) : mean;
}

function addSpread(row: Float32Array, into: Float32Array): void {
  const count = Math.min(embeddingWidth, row.length);
  for (let index = 0; index < count; index++) into[index]! += row[Math.floor((index * row.length) / count)]!;
}

function addDirection(token: number, into: Float32Array): void {
  // Signs are enough: in so many dimensions two draws are nearly at right angles.
  let state = (token + 1) | 0;
  for (let index = 0; index < embeddingWidth; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    const mixed = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d);
    into[index]! += (mixed >>> 31) * 2 - 1;
  }
}
