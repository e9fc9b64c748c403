import type { Tensor } from "../ggml/tensor.ts";
import { rope, storeKeys, storeValues } from "./attention.ts";
import type { Blocks } from "./blocks.ts";
import type { TensorSpec } from "./family.ts";
import { attend } from "./flash-attention.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import type { Latent } from "./latent.ts";
import { rowsOf } from "./projection.ts";
import type { LayerWeights } from "./weights.ts";

/** The tensors of {@link latentAttention}, its norm among them. */
export function latentTensors(h: Hyperparameters): TensorSpec[] {
  const { heads, width } = h;
  const { rank, queryRank, plainWidth, rotatedWidth, valueWidth, absorbed } = h.latent!;
  const queries = heads * (plainWidth + rotatedWidth);
  const join = "attn_latent";
  const fromHidden: TensorSpec[] = [
    { name: "attn_norm.weight", shape: [width], use: "vector" },
    queryRank > 0
      ? { name: "attn_q_a.weight", shape: [width, queryRank], use: "matrix", join }
      : { name: "attn_q.weight", shape: [width, queries], use: "matrix", join },
    { name: "attn_kv_a_mqa.weight", shape: [width, rank + rotatedWidth], use: "matrix", join },
    { name: "attn_kv_a_norm.weight", shape: [rank], use: "vector" },
    { name: "attn_output.weight", shape: [heads * valueWidth, width], use: "matrix" },
  ];
  const fromQueries: TensorSpec[] = [
    { name: "attn_q_a_norm.weight", shape: [queryRank], use: "vector" },
    { name: "attn_q_b.weight", shape: [queryRank, queries], use: "matrix" },
  ];
  const fromLatent: TensorSpec[] = absorbed
    ? [
        { name: "attn_k_b.weight", shape: [plainWidth, rank, heads], use: "each head" },
        { name: "attn_v_b.weight", shape: [rank, valueWidth, heads], use: "each head" },
      ]
    : [{ name: "attn_kv_b.weight", shape: [rank, heads * (plainWidth + valueWidth)], use: "matrix" }];
  return [...fromHidden, ...(queryRank > 0 ? fromQueries : []), ...fromLatent];
}

/**
 * Causal self-attention whose keys and values come from one vector a token, without norm and residual sum: see
 * {@link Latent}. In the last layer only the tokens that need logits go on.
 * @param normed [width, tokens]
 * @returns [width, tokens], or [width, outputs] in the last layer
 */
export function latentAttention(blocks: Blocks, weights: LayerWeights, normed: Tensor): Tensor {
  const { context } = blocks.scope;
  const latent = blocks.hyperparameters.latent!;
  const { rank, queryRank, plainWidth, rotatedWidth } = latent;
  const first = queryRank > 0 ? "attn_q_a.weight" : "attn_q.weight";
  const [q, kv] = blocks.project(weights, [first, "attn_kv_a_mqa.weight"], normed);
  const direct = rowsOf(context, q!);
  const queries = queryRank > 0 ? expandedQueries(blocks, weights, direct) : direct;
  const both = rowsOf(context, kv!);

  const plain = part(blocks, queries, plainWidth + rotatedWidth, 0, plainWidth);
  const rotated = rope(blocks, part(blocks, queries, plainWidth + rotatedWidth, plainWidth, rotatedWidth));
  const rotatedKey = rope(blocks, part(blocks, both, rank + rotatedWidth, rank, rotatedWidth));
  const compressed = context.view(both, [rank, both.shape[1]], [both.strides[1]], 0);
  const vector = blocks.norm(compressed, weights, "attn_kv_a_norm");
  const attended = latent.absorbed
    ? attendVectors(blocks, weights, { plain, rotated, rotatedKey, vector })
    : attendHeads(blocks, weights, { plain, rotated, rotatedKey, vector });
  return blocks.product(weights, "attn_output.weight", attended);
}

/** What attention is made of. */
interface Parts {
  /** Of queries, [plain width, heads, tokens] and [rotated width, heads, tokens]. */
  readonly plain: Tensor;
  readonly rotated: Tensor;
  /** [rotated width, 1, tokens] */
  readonly rotatedKey: Tensor;
  /** [rank, tokens] */
  readonly vector: Tensor;
}

function expandedQueries(blocks: Blocks, weights: LayerWeights, compressed: Tensor): Tensor {
  return blocks.product(weights, "attn_q_b.weight", blocks.norm(compressed, weights, "attn_q_a_norm"));
}

/** Some elements of each head of x [heads · head width, tokens]: [width, heads, tokens], in place. */
function part({ scope: { context } }: Blocks, x: Tensor, headWidth: number, first: number, width: number) {
  const [, tokenStride] = x.strides;
  const [rows, tokens] = x.shape;
  const [element] = x.strides;
  return context.view(
    x,
    [width, rows / headWidth, tokens],
    [headWidth * element, tokenStride],
    first * element,
  );
}

/** Queries are brought to where the vectors are. @returns [heads · value width, tokens or outputs] */
function attendVectors(blocks: Blocks, weights: LayerWeights, parts: Parts): Tensor {
  const { context } = blocks.scope;
  const { heads } = blocks.hyperparameters;
  const { plain, rotated, rotatedKey, vector } = parts;
  const { rank, valueWidth } = blocks.hyperparameters.latent!;
  const [, tokens] = vector.shape;
  const byHead = context.permute(plain, [0, 2, 1, 3]);
  const brought = blocks.productByHead(weights, "attn_k_b.weight", byHead);
  const queries = context.concat(context.permute(brought, [0, 2, 1, 3]), rotated);
  storeKeys(blocks, context.concat(context.reshape3d(vector, rank, 1, tokens), rotatedKey));

  const attended = blocks.outputRows(attend(blocks, queries));
  const [, outputs] = attended.shape;
  const vectors = context.permute(context.reshape3d(attended, rank, heads, outputs), [0, 2, 1, 3]);
  const values = blocks.productByHead(weights, "attn_v_b.weight", vectors);
  return context.contiguous2d(context.permute(values, [0, 2, 1, 3]), heads * valueWidth, outputs);
}

/** Vectors become keys and values of each head. @returns [heads · value width, tokens or outputs] */
function attendHeads(blocks: Blocks, weights: LayerWeights, parts: Parts): Tensor {
  const { context } = blocks.scope;
  const { heads } = blocks.hyperparameters;
  const { plain, rotated, rotatedKey, vector } = parts;
  const { plainWidth, valueWidth }: Latent = blocks.hyperparameters.latent!;
  const expanded = blocks.product(weights, "attn_kv_b.weight", vector);
  const keys = part(blocks, expanded, plainWidth + valueWidth, 0, plainWidth);
  const values = part(blocks, expanded, plainWidth + valueWidth, plainWidth, valueWidth);
  storeKeys(blocks, context.concat(keys, context.repeat(rotatedKey, rotated)));
  storeValues(blocks, context.contiguous2d(values, heads * valueWidth, vector.shape[1]));
  return blocks.outputRows(attend(blocks, context.concat(plain, rotated)));
}
