import { dequantizeRow } from "../ggml/quantize.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * Rows of the embedding matrix: of a token's id, its embedding, F32 [width], valid until the next call.
 * @param globals the weights outside of layers
 */
export function tokenEmbedding(globals: LayerWeights): (token: number) => Float32Array {
  let row: Float32Array | undefined;
  return (token) => {
    const matrix = globals.tensor("token_embd.weight");
    const [width, vocabulary] = matrix.shape;
    const [, bytes] = matrix.strides;
    row ??= new Float32Array(width);
    if (token < 0 || token >= vocabulary) return row.fill(0);
    dequantizeRow(matrix.type, matrix.bytes().subarray(token * bytes, (token + 1) * bytes), row);
    return row;
  };
}
