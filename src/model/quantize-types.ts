import { type TensorType, tensorTypes } from "../ggml/types.ts";
import type { GgufTensor } from "../gguf/read.ts";

/** What a model's tensors become. */
export interface QuantizeTypes {
  /** Of every matrix that nothing else is said of. */
  readonly type: TensorType;
  /** Types of single matrices: a part of the tensor's name, and the type; the first that fits counts. */
  readonly overrides?: readonly (readonly [part: string, type: TensorType])[];
}

/**
 * Where rows are no multiple of 256, the type with blocks of 32 that is the next more precise one. For all others,
 * and where 32 does not fit either: F16.
 */
const fallbacks: Readonly<Partial<Record<TensorType, TensorType>>> = {
  Q2_K: "Q4_0",
  Q3_K: "Q4_0",
  IQ3_XXS: "IQ4_NL",
  IQ3_S: "IQ4_NL",
  IQ4_XS: "IQ4_NL",
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

/**
 * The type that a tensor of a model file gets. Matrices are quantised; vectors, norms and routers keep their type:
 * they are small, and much hangs on them.
 */
export function targetType(tensor: GgufTensor, { type, overrides = [] }: QuantizeTypes): TensorType {
  if (!isMatrix(tensor)) return tensor.type;
  const [, override] = overrides.find(([part]) => tensor.name.includes(part)) ?? [];
  const wanted = override ?? type;
  const fits = (candidate: TensorType) => tensor.shape[0]! % tensorTypes[candidate].block === 0;
  if (fits(wanted)) return wanted;
  const fallback = fallbacks[wanted];
  return fallback !== undefined && fits(fallback) ? fallback : "F16";
}

/** Whether activations are multiplied with the tensor, and it is no router. */
function isMatrix({ name, shape }: GgufTensor): boolean {
  const kept = name.includes("_norm.") || name.includes("ffn_gate_inp");
  return shape.length >= 2 && name.endsWith(".weight") && !kept;
}
