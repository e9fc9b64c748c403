import { StowageError } from "../errors.ts";
import { canQuantize } from "../ggml/quantize.ts";
import { rowBytes, type TensorType, tensorTypes } from "../ggml/types.ts";
import { Metadata } from "../gguf/metadata.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { type TensorToWrite, writeGguf } from "../gguf/write.ts";
import { familyOf } from "./families.ts";
import type { TensorSpec } from "./family.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { globalSpecs } from "./layout.ts";
import { fileTypeOf } from "./quantize-recipes.ts";
import { Random } from "./random.ts";
import { calibrateShare, type Locality, localityMetadata, processFor } from "./synth-locality.ts";
import { specialTokens, syntheticVocabulary } from "./synth-vocabulary.ts";
import { SyntheticWeights } from "./synth-weights.ts";
import { TopicalEmbeddings } from "./topical-embeddings.ts";

/** The shape of a synthetic model. Widths are in elements. */
export interface SyntheticShape {
  /** A family of `families.ts`. */
  readonly architecture: string;
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headWidth: number;
  /** Of a dense model; not looked at when there are experts. */
  readonly feedForwardWidth?: number;
  /** 0 for a dense model. */
  readonly experts: number;
  readonly expertsUsed: number;
  readonly expertWidth: number;
  /** Tokens, at least 260. */
  readonly vocabulary: number;
  /** Tokens. */
  readonly context: number;
  readonly ropeBase: number;
  readonly normEpsilon: number;
  /** Whether the embeddings are the output matrix too; else it has its own. */
  readonly tiedEmbeddings?: boolean;
  /** Metadata of a vocabulary of as many tokens, in place of a made-up one. */
  readonly tokenizer?: Readonly<Record<string, GgufValue>>;
  /** Further metadata, by the key after the architecture's name and a dot; goes before what the shape says. */
  readonly metadata?: Readonly<Record<string, GgufValue>>;
  /** Whether the tensors that a file of the family may lack are written; default no. */
  readonly optionalTensors?: boolean;
}

export interface SyntheticModel extends SyntheticShape {
  /** Of all matrices; routers and vectors are F32. */
  readonly type: TensorType;
  /** Of the down-projections, where they differ. */
  readonly downType?: TensorType;
  /** Equal seeds give equal files. */
  readonly seed: number;
  /** Makes the routing as local as this; see docs/synthetic-models.md. */
  readonly locality?: Locality;
  /** Told now and then: bytes of weights written, and in all. */
  readonly progress?: (written: number, total: number) => void;
}

/** Standard deviation of the router's logits, and of the output's: as peaked as those of trained models. */
const routerSpread = 2;
const outputSpread = 3;
const normSpread = 0.1;
const biasSpread = 0.3;
/**
 * Of embeddings where the locality of the routing is given, else 1; the layers together add less than 1. At 2 what they add moves
 * SRP(16) by a point or so, and still makes a look ahead of one layer err. At 64 a look ahead would never err,
 * and logits would hardly show what the experts compute.
 */
const decidingSpread = 2;
const embeddingsName = "token_embd.weight";
const outputName = "output.weight";

/**
 * Writes a GGUF model of random weights, for tests and measurements of speed: it loads and runs like a real one of
 * its shape, and what it says is noise. Seeded; see {@link SyntheticWeights} for how the weights are drawn.
 *
 * The spreads are such that a token's own embedding outweighs all that the layers add to it. Without that, the
 * average over the context would, and all tokens would go to the same experts. So the experts of different tokens are
 * independent and all are used about equally; equal tokens mostly go to the same ones. Unless embeddings are tied,
 * the special tokens have logit 0, far from the best: greedy decoding does not end by itself.
 * @throws StowageError model_architecture, model_invalid and synth_invalid for a shape that no model can have,
 *   quantize_type, and the errors of `writeGguf`
 */
export async function writeSyntheticModel(path: string, model: SyntheticModel): Promise<void> {
  const metadata = metadataOf(model);
  const family = familyOf(model.architecture);
  const h = family.read(new Metadata(new Map(metadata), path));
  const tensors = tensorsOf(model, h);
  for (const tensor of tensors) checkTensor(tensor);

  const random = new Random(model.seed);
  const weights = new SyntheticWeights(random);
  const local = await drawLocalRouting(model, h, tensors, weights, random);
  if (local) metadata.push(...local.metadata);
  const total = tensors.reduce((sum, { type, shape }) => sum + rowBytes(type, product(shape)), 0);
  let written = 0;
  const report = (bytes: number) => {
    written += bytes;
    model.progress?.(written, total);
  };
  await writeGguf(path, { metadata, tensors, data: (tensor) => dataOf(tensor, weights, local, report) });
}

interface SyntheticTensor extends TensorToWrite {
  readonly use: "matrix" | "vector" | "router";
  readonly deviation: number;
  /** Elements at the start that are 0. */
  readonly zeros?: number;
  /** What the values of a vector are multiplied by; default 1. */
  readonly scale?: number;
  /** Values of a vector: around 0, as those of biases, around 1 or -1, or all around 1, as those of norms, or rising from 1. */
  readonly values?: "biases" | "signs" | "norms" | "rising";
}

/** What decides the routing, where it is drawn and calibrated before the file is begun. */
interface LocalRouting {
  readonly metadata: readonly [string, GgufValue][];
  /** By the names of their tensors. */
  readonly routers: ReadonlyMap<string, Uint8Array>;
  /** Data of the matrix of embeddings. */
  embeddings(): AsyncIterable<Uint8Array>;
}

async function drawLocalRouting(
  { locality, seed, type, vocabulary }: SyntheticModel,
  h: Hyperparameters,
  tensors: readonly SyntheticTensor[],
  weights: SyntheticWeights,
  random: Random,
): Promise<LocalRouting | undefined> {
  if (locality === undefined) return undefined;
  const routers = new Map(
    tensors
      .filter(({ use }) => use === "router")
      .map(({ name, shape, deviation }) => [name, weights.around0(product(shape), deviation)]),
  );
  const topics = processFor(locality, vocabulary);
  const embeddings = new TopicalEmbeddings(random, weights.values, h.width, topics);
  const floats = [...routers.values()].map((bytes) => new Float32Array(bytes.buffer));
  const share = await calibrateShare(h, floats, embeddings, topics, locality, seed);
  return {
    metadata: localityMetadata(locality, topics, share, seed),
    routers,
    embeddings: () => embeddings.matrix(type, share, decidingSpread),
  };
}

/** What a file of such a model says about itself. */
export function metadataOf(model: SyntheticModel): [string, GgufValue][] {
  const { architecture } = model;
  const feedForwardWidth = model.experts > 0 ? model.expertWidth : (model.feedForwardWidth ?? 0);
  const numbers: [string, number][] = [
    ["block_count", model.layers],
    ["context_length", model.context],
    ["embedding_length", model.width],
    ["feed_forward_length", feedForwardWidth],
    ["attention.head_count", model.heads],
    ["attention.head_count_kv", model.kvHeads],
    ["attention.key_length", model.headWidth],
    ["attention.value_length", model.headWidth],
    ["rope.dimension_count", model.headWidth],
    ["vocab_size", model.vocabulary],
  ];
  if (model.experts > 0) {
    numbers.push(["expert_count", model.experts]);
    numbers.push(["expert_used_count", model.expertsUsed]);
    numbers.push(["expert_feed_forward_length", model.expertWidth]);
  }
  const fileType = fileTypeOf(model.type);
  const shape: Record<string, GgufValue> = {
    ...Object.fromEntries(numbers.map(([key, value]) => [key, gguf.u32(value)])),
    "attention.layer_norm_rms_epsilon": gguf.f32(model.normEpsilon),
    "rope.freq_base": gguf.f32(model.ropeBase),
    ...model.metadata,
  };
  return [
    ["general.architecture", gguf.string(architecture)],
    // Without the architecture: libllama looks for words of Phi's vocabulary in models that are named so.
    ["general.name", gguf.string(`synthetic model, seed ${model.seed}`)],
    ...Object.entries(shape).map(([key, value]): [string, GgufValue] => [`${architecture}.${key}`, value]),
    ...(fileType === undefined ? [] : [["general.file_type", gguf.u32(fileType)] as [string, GgufValue]]),
    ...(model.tokenizer ? Object.entries(model.tokenizer) : syntheticVocabulary(model.vocabulary)),
  ];
}

function tensorsOf(model: SyntheticModel, h: Hyperparameters): SyntheticTensor[] {
  const { tiedEmbeddings = false, optionalTensors = false } = model;
  const family = familyOf(model.architecture);
  const written = ({ name, optional = false }: TensorSpec) =>
    name === outputName ? !tiedEmbeddings : !optional || optionalTensors;
  const globals = globalSpecs(family, h, model.vocabulary).filter(written);
  const layers = Array.from({ length: h.layers }, (_, layer) =>
    family
      .layerTensors(h, layer)
      .filter(written)
      .map((spec) => ({ ...tensorOf(model, h, spec), name: `blk.${layer}.${spec.name}` })),
  );
  return [...globals.map((spec) => tensorOf(model, h, spec)), ...layers.flat()];
}

function tensorOf(
  model: SyntheticModel,
  h: Hyperparameters,
  { name, shape, use, writesResidual }: TensorSpec,
): SyntheticTensor {
  const { type, downType = type, tiedEmbeddings } = model;
  if (name === embeddingsName) {
    // Once they are scaled, their deviation is 1.
    return { name, type, shape, use: "matrix", deviation: 1 / (h.embeddingScale ?? 1) };
  }
  if (name === outputName) {
    const deviation = outputSpread / Math.sqrt(h.width);
    return { name, type, shape, use: "matrix", deviation, zeros: specialTokens * h.width };
  }
  if (use === "vector") {
    // Against its own embedding a token would score best by far, and be repeated for ever.
    const signs = name === "output_norm.weight" && tiedEmbeddings;
    const values = name.startsWith("rope_") ? "rising" : vectorKind(name);
    const scale = writesResidual ? residualShare(h) : 1;
    return { name, type: "F32", shape, use, deviation: normSpread, values: signs ? "signs" : values, scale };
  }
  const fits = (wanted: TensorType) => shape[0]! % tensorTypes[wanted].block === 0;
  const matrixType = name.startsWith("ffn_down") ? downType : use === "matrix" || fits(type) ? type : "Q8_0";
  const deviation = deviationOf(name, use, shape[0]!, h);
  if (use === "router") return { name, type: "F32", shape, use, deviation };
  return { name, type: matrixType, shape, use: "matrix", deviation };
}

/** Norms are the only vectors of weights that are near 1. */
function vectorKind(name: string): "norms" | "biases" {
  return name.endsWith("norm.weight") ? "norms" : "biases";
}

/** Matrices keep the size of what they multiply; those that write to the residual stream add up to less than it. */
function deviationOf(
  name: string,
  use: "matrix" | "each head" | "router",
  inputs: number,
  h: Hyperparameters,
): number {
  const keep = 1 / Math.sqrt(inputs);
  if (use === "router") return routerSpread * keep;
  const writesResidual = name.startsWith("ffn_down") || name.startsWith("attn_output");
  return writesResidual ? keep * residualShare(h) : keep;
}

/** All that is added to the residual stream has a deviation of about 1 together: two parts a layer. */
function residualShare({ layers }: Hyperparameters): number {
  return 1 / Math.sqrt(2 * layers);
}

function checkTensor({ name, type, shape }: SyntheticTensor): void {
  if (!canQuantize(type)) throw new StowageError("quantize_type", { type });
  const { block } = tensorTypes[type];
  if (shape[0]! % block !== 0) {
    throw new StowageError("synth_invalid", {
      field: `the row of ${name}`,
      value: `${shape[0]} elements`,
      limit: `a multiple of ${block} for ${type}`,
    });
  }
}

async function* dataOf(
  tensor: SyntheticTensor,
  weights: SyntheticWeights,
  local: LocalRouting | undefined,
  report: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  const elements = product(tensor.shape);
  if (tensor.use === "matrix") {
    const chunks =
      local && tensor.name === embeddingsName
        ? local.embeddings()
        : weights.matrix(tensor.type, elements, tensor.deviation, tensor.zeros ?? 0);
    for await (const chunk of chunks) {
      yield chunk;
      report(chunk.length);
    }
    return;
  }
  const floats = local?.routers.get(tensor.name) ?? floatsOf(tensor, weights);
  yield floats;
  report(floats.length);
}

/** The data of a router or a vector, F32. */
function floatsOf(
  { name, shape, deviation, values, scale = 1 }: SyntheticTensor,
  weights: SyntheticWeights,
): Uint8Array {
  const elements = product(shape);
  if (values === undefined) return weights.around0(elements, deviation);
  if (values === "biases") return weights.around0(elements, biasSpread);
  if (values === "rising") return weights.rising(elements, name.includes("short") ? 2 : 8);
  return weights.norm(elements, deviation, values === "signs", scale);
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, extent) => total * extent, 1);
}
