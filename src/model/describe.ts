import type { TensorType } from "../ggml/types.ts";
import type { GgufFile, GgufTensor } from "../gguf/read.ts";
import { families } from "./families.ts";

/** What part of a model a tensor belongs to. Shared experts, which every token uses, are feed-forward. */
export const tensorKinds = [
  "embeddings",
  "attention",
  "experts",
  "router",
  "feed-forward",
  "norms",
  "other",
] as const;
export type TensorKind = (typeof tensorKinds)[number];

/** A group of tensors, added up. */
export interface Share {
  readonly tensors: number;
  readonly parameters: number;
  /** In the file. */
  readonly bytes: number;
}

/** What a model file holds. What it does not tell, or tells layer by layer, is undefined. */
export interface ModelDescription {
  readonly path: string;
  readonly architecture: string;
  /** Whether there is a family for the architecture. */
  readonly supported: boolean;
  readonly name: string | undefined;
  readonly licence: string | undefined;
  readonly shards: readonly { readonly path: string; readonly bytes: number }[];
  /** Of all shards. */
  readonly bytes: number;
  readonly parameters: number;
  /** Parameters that take part in a token's step: of the experts, as many as are used. */
  readonly activeParameters: number;
  readonly layers: number | undefined;
  readonly width: number | undefined;
  readonly heads: number | undefined;
  readonly kvHeads: number | undefined;
  /** 0 for a dense model. */
  readonly experts: number;
  readonly expertsUsed: number;
  /** Tokens. */
  readonly context: number | undefined;
  /** Tokens; 0 when the file has no embeddings. */
  readonly vocabulary: number;
  readonly tokenizer: string | undefined;
  readonly chatTemplate: boolean;
  /** Kinds that the file has. */
  readonly kinds: Readonly<Partial<Record<TensorKind, Share>>>;
  /** Types that the file has, the largest share first. */
  readonly types: Readonly<Partial<Record<TensorType, Share>>>;
}

/**
 * Adds up a model file of any architecture, known or not.
 * @throws StowageError gguf_metadata_missing, gguf_metadata_type when it does not name its architecture
 */
export function describeModel(file: GgufFile): ModelDescription {
  const { metadata, shards } = file;
  const architecture = metadata.string("general.architecture");
  const tensors = [...file.tensors.values()];
  const number = (key: string) => {
    const value = metadata.get(`${architecture}.${key}`)?.value;
    return typeof value === "number" ? value : undefined;
  };
  const text = (key: string) => {
    const value = metadata.get(key)?.value;
    return typeof value === "string" ? value : undefined;
  };
  const kinds = shares(tensors, kindOf);
  const types = shares(tensors, ({ type }) => type);
  const experts = number("expert_count") ?? 0;
  const expertsUsed = number("expert_used_count") ?? 0;
  const parameters = tensors.reduce((sum, tensor) => sum + elements(tensor), 0);
  const idle = experts > 0 ? (kinds.get("experts")?.parameters ?? 0) * (1 - expertsUsed / experts) : 0;
  return {
    path: file.path,
    architecture,
    supported: families.some(({ name }) => name === architecture),
    name: text("general.name"),
    licence: text("general.license"),
    shards: shards.map(({ path, bytes }) => ({ path, bytes })),
    bytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
    parameters,
    activeParameters: Math.round(parameters - idle),
    layers: number("block_count"),
    width: number("embedding_length"),
    heads: number("attention.head_count"),
    kvHeads: number("attention.head_count_kv"),
    experts,
    expertsUsed,
    context: number("context_length"),
    vocabulary: file.tensors.get("token_embd.weight")?.shape[1] ?? 0,
    tokenizer: text("tokenizer.ggml.model"),
    chatTemplate: metadata.has("tokenizer.chat_template"),
    kinds: Object.fromEntries(
      tensorKinds.flatMap((kind) => (kinds.has(kind) ? [[kind, kinds.get(kind)]] : [])),
    ),
    types: Object.fromEntries([...types].sort(([, a], [, b]) => b.bytes - a.bytes)),
  };
}

function kindOf({ name }: GgufTensor): TensorKind {
  if (name.includes("norm")) return "norms";
  if (/ffn_gate_inp|exp_probs/.test(name)) return "router";
  if (name.includes("_exps.")) return "experts";
  if (name.includes("attn_")) return "attention";
  if (name.includes("ffn_")) return "feed-forward";
  return /embd|^output\./.test(name) ? "embeddings" : "other";
}

function shares<K>(tensors: readonly GgufTensor[], keyOf: (tensor: GgufTensor) => K): Map<K, Share> {
  const found = new Map<K, Share>();
  for (const tensor of tensors) {
    const {
      tensors: count,
      parameters,
      bytes,
    } = found.get(keyOf(tensor)) ?? { tensors: 0, parameters: 0, bytes: 0 };
    found.set(keyOf(tensor), {
      tensors: count + 1,
      parameters: parameters + elements(tensor),
      bytes: bytes + tensor.bytes,
    });
  }
  return found;
}

function elements({ shape }: GgufTensor): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
