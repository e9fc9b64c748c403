import type { TensorType } from "../ggml/types.ts";

/** What a quantised file's matrices mostly become, and the number that `general.file_type` gets: llama.cpp's. */
export interface Recipe {
  readonly type: TensorType;
  readonly fileType: number;
}

/**
 * Every kind of file that llama.cpp's quantiser writes, by its name there. The name of a type stands for a mix too: of
 * most types, some matrices get a few bits more.
 */
export const recipes = {
  F32: { type: "F32", fileType: 0 },
  F16: { type: "F16", fileType: 1 },
  BF16: { type: "BF16", fileType: 32 },
  Q8_0: { type: "Q8_0", fileType: 7 },
  Q6_K: { type: "Q6_K", fileType: 18 },
  Q5_K_M: { type: "Q5_K", fileType: 17 },
  Q5_K_S: { type: "Q5_K", fileType: 16 },
  Q5_1: { type: "Q5_1", fileType: 9 },
  Q5_0: { type: "Q5_0", fileType: 8 },
  Q4_K_M: { type: "Q4_K", fileType: 15 },
  Q4_K_S: { type: "Q4_K", fileType: 14 },
  Q4_1: { type: "Q4_1", fileType: 3 },
  Q4_0: { type: "Q4_0", fileType: 2 },
  IQ4_NL: { type: "IQ4_NL", fileType: 25 },
  IQ4_XS: { type: "IQ4_XS", fileType: 30 },
  MXFP4_MOE: { type: "MXFP4", fileType: 38 },
  Q3_K_L: { type: "Q3_K", fileType: 13 },
  Q3_K_M: { type: "Q3_K", fileType: 12 },
  Q3_K_S: { type: "Q3_K", fileType: 11 },
  IQ3_M: { type: "IQ3_S", fileType: 27 },
  IQ3_S: { type: "IQ3_S", fileType: 26 },
  IQ3_XS: { type: "IQ3_S", fileType: 22 },
  IQ3_XXS: { type: "IQ3_XXS", fileType: 23 },
  Q2_K: { type: "Q2_K", fileType: 10 },
  Q2_K_S: { type: "Q2_K", fileType: 21 },
  IQ2_M: { type: "IQ2_S", fileType: 29 },
  IQ2_S: { type: "IQ2_XS", fileType: 28 },
  IQ2_XS: { type: "IQ2_XS", fileType: 20 },
  IQ2_XXS: { type: "IQ2_XXS", fileType: 19 },
  Q2_0: { type: "Q2_0", fileType: 41 },
  TQ2_0: { type: "TQ2_0", fileType: 37 },
  IQ1_M: { type: "IQ1_M", fileType: 31 },
  TQ1_0: { type: "TQ1_0", fileType: 36 },
  IQ1_S: { type: "IQ1_S", fileType: 24 },
  Q1_0: { type: "Q1_0", fileType: 40 },
} as const satisfies Readonly<Record<string, Recipe>>;

export type RecipeName = keyof typeof recipes;

/** Names that mean another: llama.cpp's, and the types that no recipe is named after. */
const aliases: Readonly<Record<string, RecipeName>> = {
  Q5_K: "Q5_K_M",
  Q4_K: "Q4_K_M",
  Q3_K: "Q3_K_M",
  MXFP4: "MXFP4_MOE",
};

/** The recipe of a name, in capitals or not; `undefined` when there is none. */
export function recipeOf(name: string): RecipeName | undefined {
  const capitals = name.toUpperCase();
  return aliases[capitals] ?? (capitals in recipes ? (capitals as RecipeName) : undefined);
}

/** The number for a file whose matrices all have a type; `undefined` where llama.cpp has none. */
export function fileTypeOf(type: TensorType): number | undefined {
  const found = Object.entries<Recipe>(recipes).filter(([, recipe]) => recipe.type === type);
  const small = found.find(([name]) => name === type || name === `${type}_S`) ?? found[0];
  return small?.[1].fileType;
}
