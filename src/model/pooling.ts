import { StowageError } from "../errors.ts";
import type { Metadata } from "../gguf/metadata.ts";

/**
 * How one vector is made of the final states of a text's tokens: their mean, that of the first or of the last token, or
 * none: one vector a token.
 */
export const poolings = ["none", "mean", "cls", "last"] as const;
export type Pooling = (typeof poolings)[number];

/** Those that give one vector a text. */
export const textPoolings = ["mean", "cls", "last"] as const;
export type TextPooling = (typeof textPoolings)[number];

/** llama.cpp's numbers in files. */
const inFiles: readonly (Pooling | "rank")[] = ["none", "mean", "cls", "last", "rank"];

/**
 * What a model's file says; undefined where it says nothing. `rank` gives a score, by a head that is not computed here.
 * @throws StowageError model_invalid for a number that stands for none
 */
export function pooledBy(metadata: Metadata, architecture: string): Pooling | "rank" | undefined {
  const key = `${architecture}.pooling_type`;
  if (!metadata.has(key)) return undefined;
  const value = metadata.number(key);
  const pooling = inFiles[value];
  if (pooling === undefined)
    throw new StowageError("model_invalid", { field: key, value, limit: "a whole number from 0 to 4" });
  return pooling;
}
