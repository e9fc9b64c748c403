import type { TensorType } from "../src/ggml/types.ts";
import { type GgufValue, gguf } from "../src/gguf/values.ts";
import { defaultKvTypes, type KvTypeName, type KvTypes, kvTypesOf } from "../src/kv/types.ts";
import { Random } from "../src/model/random.ts";
import { type SyntheticModel, type SyntheticShape, writeSyntheticModel } from "../src/model/synth.ts";
import type { TokenSource } from "./parity-measure.ts";
import type { OwnModel } from "./parity-own.ts";
import { routingMargins } from "./routing-margins.ts";
import { tinyDense, tinyLatentHeads, tinyShapes } from "./tiny-model.ts";

/** Matrices of one type, or down-projections of another. */
export type CaseType = Pick<SyntheticModel, "type" | "downType">;

/** Queries are wider than the model. */
export const grouped = { heads: 8, kvHeads: 2 } as const;

/** A shape and the types in which it is compared. */
export interface ParityCase {
  readonly name: string;
  readonly shape: SyntheticShape;
  readonly types: readonly CaseType[];
  /** Of keys and values, on both sides. Default F16. */
  readonly kvTypes?: KvTypes;
  /**
   * Bounds are so many times as high: for more layers, which carry a rounding on, or for GELU, which ggml looks up by
   * the F16 next to its argument. Default 1.
   */
  readonly allowance?: number;
  /**
   * Margins of the router below this are ties, where not the usual: roundings of 5e-2 of a logit's deviation, as
   * quantised activations give, have turned choices between biased sigmoids at a margin of 0.048.
   */
  readonly tie?: number;
}

const each: readonly CaseType[] = (["F32", "F16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"] as const).map((type) => ({
  type,
}));
const mixed: CaseType = { type: "Q4_K", downType: "Q6_K" };
const few: readonly CaseType[] = [{ type: "F32" }, { type: "F16" }, mixed];

/** The shape of a family that exists with and without experts, without. */
const denseLlama = { ...tinyDense, architecture: "llama" };
const narrowHeads = { ...tinyShapes.qwen3moe!, heads: 8, kvHeads: 4, headWidth: 32 };

/** libllama takes no OLMoE with grouped queries or tied embeddings. */
const firstCases: readonly ParityCase[] = [
  { name: "olmoe", shape: tinyShapes.olmoe!, types: [...each, mixed] },
  { name: "qwen3moe", shape: tinyShapes.qwen3moe!, types: each },
  {
    name: "qwen3moe, grouped queries, tied embeddings",
    shape: { ...tinyShapes.qwen3moe!, ...grouped, tiedEmbeddings: true },
    types: few,
  },
  { name: "llama with experts", shape: tinyShapes.llama!, types: each },
  {
    name: "qwen3moe, narrow heads",
    shape: narrowHeads,
    types: few,
  },
  {
    name: "llama with experts, grouped queries, tied embeddings",
    shape: { ...tinyShapes.llama!, ...grouped, tiedEmbeddings: true },
    types: few,
  },
  { name: "llama, dense", shape: denseLlama, types: each },
  {
    name: "llama, dense, grouped queries, tied embeddings, RoPE factors",
    shape: { ...denseLlama, ...grouped, tiedEmbeddings: true, optionalTensors: true },
    types: few,
  },
  { name: "qwen3, dense", shape: tinyShapes.qwen3!, types: each },
  {
    name: "qwen3, dense, grouped queries, tied embeddings",
    shape: { ...tinyShapes.qwen3!, ...grouped, tiedEmbeddings: true },
    types: few,
  },
];

const common: readonly CaseType[] = [{ type: "F32" }, { type: "F16" }, { type: "Q8_0" }, mixed];

/** The usual pattern: every sixth layer without a window, and one more with. */
const { "attention.sliding_window_pattern": _, ...gemma3Metadata } = tinyShapes.gemma3!.metadata!;
const deepGemma3 = { ...tinyShapes.gemma3!, layers: 7, metadata: gemma3Metadata };

/** Families that came later. */
const laterCases: readonly ParityCase[] = [
  { name: "qwen2", shape: tinyShapes.qwen2!, types: common },
  {
    name: "qwen2, grouped queries, tied embeddings",
    shape: { ...tinyShapes.qwen2!, kvHeads: 2, tiedEmbeddings: true },
    types: few,
  },
  { name: "qwen2moe", shape: tinyShapes.qwen2moe!, types: common },
  { name: "qwen2moe, grouped queries", shape: { ...tinyShapes.qwen2moe!, kvHeads: 2 }, types: few },
  { name: "phimoe", shape: tinyShapes.phimoe!, types: common },
  {
    name: "phimoe, grouped queries, LongRoPE",
    shape: {
      ...tinyShapes.phimoe!,
      kvHeads: 2,
      optionalTensors: true,
      metadata: ropeScaling({ original_context_length: 128, attn_factor: 1.2 }),
    },
    types: few,
  },
  { name: "phi3", shape: tinyShapes.phi3!, types: common },
  {
    name: "phi3, grouped queries, tied embeddings, LongRoPE",
    shape: {
      ...tinyShapes.phi3!,
      kvHeads: 2,
      tiedEmbeddings: true,
      optionalTensors: true,
      metadata: ropeScaling({ original_context_length: 128, attn_factor: 1.2 }),
    },
    types: few,
  },
  { name: "gemma", shape: { ...tinyShapes.gemma!, tiedEmbeddings: true }, types: common },
  { name: "gemma2", shape: { ...tinyShapes.gemma2!, tiedEmbeddings: true }, types: common, allowance: 2 },
  { name: "gemma3", shape: { ...tinyShapes.gemma3!, tiedEmbeddings: true }, types: common, allowance: 2 },
  {
    name: "gemma3, grouped queries, seven layers",
    shape: { ...deepGemma3, ...grouped, tiedEmbeddings: true },
    types: few,
    allowance: 2,
  },
];

/** Contexts stretched by every method. Models run with a context of 256 tokens. */
const ropeCases: readonly ParityCase[] = [
  ropeCase("llama", "linear", { type: "linear", factor: 4 }),
  ropeCase("llama", "YaRN", { type: "yarn", factor: 4, original_context_length: 64 }),
  ropeCase("llama", "YaRN with an attention factor", {
    type: "yarn",
    factor: 8,
    original_context_length: 64,
    attn_factor: 1.2,
  }),
  ropeCase("mistral3", "YaRN with its own betas and less growth", {
    type: "yarn",
    factor: 8,
    original_context_length: 64,
    yarn_beta_fast: 16,
    yarn_beta_slow: 2,
    yarn_log_multiplier: 0.5,
  }),
  ropeCase("llama", "LongRoPE in a long context", {
    type: "longrope",
    original_context_length: 128,
    attn_factor: 1.2,
  }),
  ropeCase("llama", "LongRoPE in a short context", {
    type: "longrope",
    original_context_length: 256,
    attn_factor: 1.2,
  }),
];

function ropeCase(architecture: "llama" | "mistral3", name: string, scaling: Scaling): ParityCase {
  const shape = { ...tinyDense, ...grouped, architecture, metadata: ropeScaling(scaling) };
  const optionalTensors = scaling.type === "longrope";
  return {
    name: `${architecture}, dense, RoPE: ${name}`,
    shape: { ...shape, optionalTensors },
    types: [{ type: "F32" }, mixed],
  };
}

type Scaling = Readonly<Record<string, number | string>>;

function ropeScaling(scaling: Scaling): Readonly<Record<string, GgufValue>> {
  const written = (key: string, value: number | string) => {
    if (typeof value === "string") return gguf.string(value);
    return key === "original_context_length" ? gguf.u32(value) : gguf.f32(value);
  };
  const entries = Object.entries(scaling).map(([key, value]) => [`rope.scaling.${key}`, written(key, value)]);
  return Object.fromEntries(entries);
}

const yarn = { type: "yarn", factor: 4, original_context_length: 64 };
const mixtures: readonly ParityCase[] = [
  { name: "glm4moe", shape: tinyShapes.glm4moe!, types: common, tie: 0.05 },
  {
    name: "glm4moe, normalised heads, tied embeddings",
    shape: { ...tinyShapes.glm4moe!, ...grouped, optionalTensors: true, tiedEmbeddings: true },
    types: few,
    tie: 0.05,
  },
  { name: "deepseek2, keys and values of all heads in one matrix", shape: tinyLatentHeads, types: common },
  {
    name: "deepseek2, matrices of each head",
    shape: { ...tinyShapes.deepseek2!, optionalTensors: true },
    types: common,
    tie: 0.05,
  },
  {
    name: "deepseek2, experts in groups",
    shape: {
      ...tinyShapes.deepseek2!,
      optionalTensors: true,
      metadata: {
        ...tinyShapes.deepseek2!.metadata,
        expert_group_count: gguf.u32(4),
        expert_group_used_count: gguf.u32(2),
      },
    },
    types: [{ type: "F32" }],
  },
  { name: "gpt-oss", shape: tinyShapes["gpt-oss"]!, types: [...common, { type: "MXFP4" }] },
  {
    name: "gpt-oss, YaRN",
    shape: {
      ...tinyShapes["gpt-oss"]!,
      metadata: { ...tinyShapes["gpt-oss"]!.metadata, ...ropeScaling(yarn) },
    },
    types: few,
  },
  { name: "smallthinker", shape: tinyShapes.smallthinker!, types: common },
  {
    name: "smallthinker, softmax, no windows, grouped queries, tied embeddings",
    shape: {
      ...tinyShapes.smallthinker!,
      ...grouped,
      tiedEmbeddings: true,
      metadata: { expert_gating_func: gguf.u32(1) },
    },
    types: few,
  },
  {
    name: "deepseek2, YaRN",
    shape: { ...tinyLatentHeads, metadata: { ...tinyLatentHeads.metadata, ...ropeScaling(yarn) } },
    types: [{ type: "F32" }],
  },
  {
    name: "deepseek2, YaRN with a multiplier",
    shape: {
      ...tinyLatentHeads,
      metadata: { ...tinyLatentHeads.metadata, ...ropeScaling({ ...yarn, yarn_log_multiplier: 0.0707 }) },
    },
    types: [{ type: "F32" }],
  },
];

/** All that is compared; `docs/parity.md` lists it. */
export const parityCases: readonly ParityCase[] = [
  ...firstCases,
  ...laterCases,
  ...ropeCases,
  ...mixtures,
  ...kvCases("llama, dense", denseLlama),
  ...kvCases("qwen3moe, narrow heads", narrowHeads),
  halved("gemma3", { ...tinyShapes.gemma3!, tiedEmbeddings: true }),
  halved("deepseek2, matrices of each head", { ...tinyShapes.deepseek2!, optionalTensors: true }),
];

/** A shape with a KV cache of half the size. */
function halved(name: string, shape: SyntheticShape): ParityCase {
  const kvTypes = kvTypesOf("q8_0", "q8_0");
  return { name: `${name}, keys q8_0, values q8_0`, shape, types: [{ type: "F32" }], kvTypes };
}

/** A shape with KV caches of other types. */
function kvCases(name: string, shape: SyntheticShape): ParityCase[] {
  const types: readonly CaseType[] = [{ type: "F32" }, mixed];
  return (["q8_0 q8_0", "q4_0 q4_0", "q8_0 q4_0"] as const).map((pair) => {
    const [keys, values] = pair.split(" ") as [KvTypeName, KvTypeName];
    return {
      name: `${name}, keys ${keys}, values ${values}`,
      shape,
      types,
      kvTypes: kvTypesOf(keys, values),
    };
  });
}

/**
 * The most that logits may differ by, in their standard deviations. The two sides never do quite the same sums: our
 * joint projections and our products expert by expert are matrix products of other sizes, which kernels sum in
 * another order (Q4_K rounds otherwise when a matrix meets one row than when it meets several), and a softmax over
 * the chosen experts stands for a softmax over all and a division. What comes of it depends on what is rounded next:
 *
 * - F32: keys and values are rounded to F16, so a last bit there moves by 5e-4 of an element; and attention over 16 to
 *   63 tokens goes tile by tile here, where values are summed in F32, and row by row in libllama, where they are
 *   summed in F16. Keys with a bias are larger, and so is their last bit. Worst measured 8.2e-4 without
 *   biases, 1.1e-3 with them.
 * - F16: so are the activations before every product. Worst measured 1.8e-3.
 * - Quantised: activations are rounded to 8 bits in blocks. One that falls to the other side moves by 1 % of the
 *   largest in its block, and takes others with it further on. Worst measured 5.7e-2.
 *
 * - KV caches in Q8_0 and Q4_0: a key or value that falls to the other side moves by 1 % or 13 % of the largest in its
 *   block; and from 16 tokens on attention reads them in F32 here, where libllama rounds queries to 8 bits too. Worst
 *   measured 1.6e-2 and 5.1e-2 with weights in F32 or F16 (Gemma; others 1.1e-2 and 3.3e-2), 6.7e-2 with others.
 *
 * A fault of the graph shows in every type: weights of experts that are not normalised give 0.2 to 0.4, the wrong
 * kind of RoPE 0.5 to 1, a mask that lets one token of the future through 0.2 to 1.3, a window one token
 * longer 0.3 to 1.2, a bias left out 0.8 to 1.7, scores that are not bounded 0.2.
 */
export function boundOf(
  { allowance = 1, kvTypes = defaultKvTypes }: Pick<ParityCase, "allowance" | "kvTypes">,
  type: TensorType,
): number {
  const floats = type === "F32" || type === "F16";
  if (floats && Object.values(kvTypes).includes("Q4_0")) return 6e-2;
  if (floats && Object.values(kvTypes).includes("Q8_0")) return 2e-2;
  if (type === "F32") return 2e-3 * allowance;
  return (type === "F16" ? 3e-3 : 8e-2) * allowance;
}

/** Name of a type for people. */
export function typeName({ type, downType }: CaseType): string {
  return downType ? `${type} with ${downType} down` : type;
}

/** Tokens whose router logits leave so much between the chosen experts and the others are used in prompts. */
const clearMargin = 0.5;
const firstText = 3;

/** Writes the model of a case. */
export async function writeCase(path: string, { shape }: ParityCase, type: CaseType): Promise<void> {
  await writeSyntheticModel(path, { ...shape, ...type, seed: 7 });
}

/**
 * Random tokens that the router is sure about. Rounding decides between two experts that are all but equal, and the
 * other one gives other logits: a tie, which says nothing about the arithmetic that is compared.
 */
export async function clearTokens(own: OwnModel): Promise<TokenSource> {
  const { vocabulary } = own.runtime.weights.layout;
  const all = Array.from({ length: vocabulary - firstText }, (_, index) => firstText + index);
  const margins = await routingMargins(own.runtime, all);
  const clear = all.filter((_, index) => margins[index]! > clearMargin);
  return (count, seed) => {
    const random = new Random(seed);
    return Array.from({ length: count }, () => clear[random.below(clear.length)]!);
  };
}
