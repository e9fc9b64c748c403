import type { Tensor } from "../ggml/tensor.ts";
import type { Metadata } from "../gguf/metadata.ts";
import type { Blocks } from "./blocks.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import type { LayerWeights } from "./weights.ts";

/**
 * One architecture: how its metadata is read, which tensors a layer has, and what a layer computes.
 * A family file holds these three things and nothing else; see docs/add-an-architecture.md.
 */
export interface Family {
  /** The value of `general.architecture`. */
  readonly name: string;
  read(metadata: Metadata): Hyperparameters;
  /** The tensors of layer number `layer`, by their name after `blk.N.`, with their shapes. */
  layerTensors(h: Hyperparameters, layer: number): readonly TensorSpec[];
  /** The tensors outside of layers; default `globalTensors` of `specs.ts`. @param vocabulary tokens */
  globalTensors?(h: Hyperparameters, vocabulary: number): readonly TensorSpec[];
  /** What the first layer gets, [width, tokens]; default the tokens' embeddings. */
  embed?(blocks: Blocks): Tensor;
  /** x [width, tokens] in, x out. Each `await` is a safepoint, where a step may be dropped. */
  layer(blocks: Blocks, weights: LayerWeights, x: Tensor): Promise<Tensor>;
}

/** A tensor that a family expects. */
export interface TensorSpec {
  readonly name: string;
  /** Extents, ggml's order. */
  readonly shape: readonly number[];
  /**
   * `matrix`: multiplied with activations. `each head`: a matrix a head, kept as they are in the file. `vector`: F32, element-wise. `router`: F32 as a rule, a matrix kept as it
   * is in the file, such as a router or a table of embeddings.
   */
  readonly use: "matrix" | "each head" | "vector" | "router";
  /** Matrices with equal `join` are kept as one, row under row, where their types allow it. */
  readonly join?: string;
  /** Some files lack it. Those without `output.weight` use the embeddings there. */
  readonly optional?: boolean;
  /** A norm whose results are added to the residual stream; only synthetic models look at it. */
  readonly writesResidual?: boolean;
}
