import { StowageError } from "../errors.ts";
import { canQuantize } from "../ggml/quantize.ts";
import { type TensorType, tensorTypes } from "../ggml/types.ts";
import { type Metadata, requireArchitecture } from "../gguf/metadata.ts";
import type { GgufFile, GgufTensor } from "../gguf/read.ts";
import { type RecipeName, recipes } from "./quantize-recipes.ts";
import { roleOf, TensorMix } from "./tensor-mix.ts";

/** What a model's tensors become. */
export interface QuantizeTypes {
  readonly recipe: RecipeName;
  /** Every matrix gets the recipe's own type, without a mix. */
  readonly pure?: boolean;
  /** Types of single matrices: a part of the tensor's name, and the type; the first that fits counts. */
  readonly overrides?: readonly (readonly [part: string, type: TensorType])[];
}

/**
 * The type with blocks of 32 that is taken where rows are no multiple of a type's longer blocks. For all others,
 * and where 32 does not fit either: F16.
 */
const fallbacks: Readonly<Partial<Record<TensorType, TensorType>>> = {
  IQ1_S: "IQ4_NL",
  IQ1_M: "IQ4_NL",
  IQ2_XXS: "IQ4_NL",
  IQ2_XS: "IQ4_NL",
  IQ2_S: "IQ4_NL",
  IQ3_XXS: "IQ4_NL",
  IQ3_S: "IQ4_NL",
  IQ4_XS: "IQ4_NL",
  Q2_0: "Q4_0",
  Q2_K: "Q4_0",
  Q3_K: "Q4_0",
  TQ1_0: "Q4_0",
  TQ2_0: "Q4_0",
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

/** Types with so few bits that they are noise unless it is known which columns matter. */
const blindTypes = new Set<TensorType>(["IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"]);

/** Parts of the names of matrices that keep their type: they are small, and much hangs on them. */
const keptParts = [
  "_norm.weight",
  "ffn_gate_inp.weight",
  "ffn_gate_tid2eid.weight",
  "altup",
  "laurel",
  "per_layer_model_proj",
  "ssm_conv1d",
  "shortconv.conv.weight",
  "indexer.k_proj.weight",
  "indexer.q_proj.weight",
  "time_mix_first.weight",
  ...[
    "w0",
    "w1",
    "w2",
    "v0",
    "v1",
    "v2",
    "a0",
    "a1",
    "a2",
    "g1",
    "g2",
    "decay_w1",
    "decay_w2",
    "lerp_fused",
  ].map((part) => `time_mix_${part}.weight`),
  "attn_rel_b.weight",
  ".position_embd",
  "sam.pos_embd",
  "sam.neck.",
  "sam.net_",
  ".rel_pos",
  ".patch_embd",
  ".patch_merger",
];
const keptNames = new Set(["position_embd.weight", "token_types.weight"]);

/**
 * The type that every tensor of a model file gets, llama.cpp's choice: matrices are quantised, in the recipe's mix
 * unless `pure`; the others keep their type.
 * @param importance the matrices of which it is known which columns matter; undefined when of none
 * @throws StowageError quantize_imatrix where a type has too few bits to do without; gguf_metadata_*
 */
export function planTypes(
  file: GgufFile,
  { recipe, pure = false, overrides = [] }: QuantizeTypes,
  importance: ReadonlySet<string> | undefined,
): Map<string, TensorType> {
  const tensors = [...file.tensors.values()].sort(byLayer);
  const usual: TensorType = recipes[recipe].type;
  const mixes = !pure && isQuantized(usual);
  const mix = mixes ? new TensorMix(recipe, mixedModel(file, tensors, importance !== undefined)) : undefined;
  const types = new Map<string, TensorType>();
  for (const tensor of tensors) {
    if (!isMatrix(tensor)) {
      types.set(tensor.name, tensor.type);
      continue;
    }
    const [, override] = overrides.find(([part]) => tensor.name.includes(part)) ?? [];
    const type = fitted(override ?? mix?.typeOf(tensor) ?? usual, tensor);
    if (type !== tensor.type && !importance?.has(tensor.name)) checkBlind(tensor.name, type, recipe);
    types.set(tensor.name, type);
  }
  return types;
}

/** By layer, those outside of layers first; then by name, byte by byte. */
function byLayer(a: GgufTensor, b: GgufTensor): number {
  const layer = ({ name }: GgufTensor) => Number(/^blk\.(\d+)/.exec(name)?.[1] ?? -1);
  return layer(a) - layer(b) || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
}

function mixedModel({ metadata }: GgufFile, tensors: readonly GgufTensor[], importance: boolean) {
  const architecture = requireArchitecture(metadata);
  const heads = firstNumber(metadata, `${architecture}.attention.head_count`, 1);
  const kvHeads = firstNumber(metadata, `${architecture}.attention.head_count_kv`, heads);
  return {
    architecture,
    layers: metadata.number(`${architecture}.block_count`, 0),
    headsAGroup: kvHeads === 0 ? 0 : Math.floor(heads / kvHeads),
    experts: metadata.number(`${architecture}.expert_count`, 0),
    tied: !tensors.some(({ name }) => roleOf(name) === "output"),
    values: tensors.filter(({ name }) => roleOf(name) === "value").length,
    importance,
  };
}

/** A number, or the first of one a layer. */
function firstNumber(metadata: Metadata, key: string, fallback: number): number {
  return metadata.get(key)?.type === "array"
    ? (metadata.numbers(key)[0] ?? fallback)
    : metadata.number(key, fallback);
}

/** Whether activations are multiplied with the tensor, or its rows are looked up, and it is not to be kept. */
function isMatrix({ name, shape }: GgufTensor): boolean {
  if (!name.endsWith("weight") || !shape.slice(1).some((extent) => extent > 1)) return false;
  return !keptNames.has(name) && !keptParts.some((part) => name.includes(part));
}

function isQuantized(type: TensorType): boolean {
  return tensorTypes[type].block > 1;
}

function fitted(type: TensorType, { shape }: GgufTensor): TensorType {
  const fits = (candidate: TensorType) => shape[0]! % tensorTypes[candidate].block === 0;
  if (fits(type)) return type;
  const fallback = fallbacks[type];
  return fallback !== undefined && fits(fallback) ? fallback : "F16";
}

/** Embeddings and the output seldom have statistics of activations: they do without, where ggml can. */
function checkBlind(name: string, type: TensorType, recipe: RecipeName): void {
  const exempt = ["embedding", "output"].includes(roleOf(name)) && canQuantize(type);
  const blind = blindTypes.has(type) || (type === "Q2_K" && recipe === "Q2_K_S");
  if (blind && !exempt) throw new StowageError("quantize_imatrix", { name, type });
}
