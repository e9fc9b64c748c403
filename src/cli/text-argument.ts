import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { StowageError } from "../errors.ts";
import { reasonOf } from "../gguf/fault.ts";
import { requireArchitecture } from "../gguf/metadata.ts";
import { openGguf } from "../gguf/read.ts";
import { familyOf } from "../model/families.ts";

/** llama.cpp's, with which published numbers are measured. */
export const usualChunkTokens = 512;

/** Tokens of a chunk of text for a model, where nothing else was said: not more than it was trained on. */
export async function defaultChunkTokens(modelPath: string): Promise<number> {
  const { metadata } = await openGguf(modelPath);
  const { contextTrained } = familyOf(requireArchitecture(metadata)).read(metadata);
  return Math.min(usualChunkTokens, contextTrained);
}

/** What a text argument names: a file, or `-` for stdin. @throws StowageError text_unreadable */
export async function readTextArgument(path: string): Promise<string> {
  if (path === "-") return text(process.stdin);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new StowageError("text_unreadable", { path, reason: reasonOf(error) }, { cause: error });
  }
}
