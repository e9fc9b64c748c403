import { StowageError } from "../errors.ts";
import type { Metadata } from "../gguf/metadata.ts";

/** The kinds of vocabulary that language models in GGUF files have: SentencePiece BPE and byte-level BPE. */
const supportedModels = ["llama", "gpt2"];
const maxTokens = 1 << 20;

/**
 * Checks what libllama takes for granted: a file that fails here would end the process that loads it, or one of the
 * first texts would.
 * @throws StowageError vocabulary_invalid naming what is wrong; gguf_metadata_* when a key is missing or has another type
 */
export function checkVocabulary(metadata: Metadata): void {
  const invalid = (reason: string) => new StowageError("vocabulary_invalid", { path: metadata.path, reason });
  const model = metadata.string("tokenizer.ggml.model");
  if (!supportedModels.includes(model)) {
    throw invalid(`its kind is "${model}"; supported are ${supportedModels.join(" and ")}.`);
  }
  const tokens = metadata.strings("tokenizer.ggml.tokens");
  if (tokens.length === 0 || tokens.length > maxTokens) {
    throw invalid(`it has ${tokens.length} tokens; 1 to ${maxTokens} are supported.`);
  }
  const ids = new Map<string, number>();
  tokens.forEach((text, id) => {
    const earlier = ids.get(text);
    if (earlier !== undefined && text !== "") {
      throw invalid(`tokens ${earlier} and ${id} are both spelled ${JSON.stringify(text)}.`);
    }
    if (text.includes("\0")) throw invalid(`token ${id} has a zero character in its spelling.`);
    ids.set(text, id);
  });
  if (model !== "llama") return;
  for (let byte = 0; byte < 256; byte++) {
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
    if (!ids.has(name)) throw invalid(`the byte token ${name} is missing.`);
  }
}

/**
 * Splitters (`tokenizer.ggml.pre`) that libllama has its own loop for: each was given words of 300,000 characters.
 * The others go through a library that recurses once a character of each word, and runs out of stack.
 */
const loopSplitters = new Set([
  "llama3",
  "llama-v3",
  "llama-bpe",
  "qwen2",
  "qwen35",
  "gpt-2",
  "olmo",
  "starcoder",
  "dbrx",
  "smaug-bpe",
  "kimi-k2",
  "glm4",
  "chatglm-bpe",
  "falcon",
  "mpt",
  "command-r",
  "refact",
  "smollm",
  "exaone",
  "granite-docling",
  "grok-2",
  "deepseek-r1-qwen",
  "falcon3",
  "lfm2",
  "phi-2",
  "exaone4",
  "megrez",
  "mellum",
  "stablelm2",
  "hunyuan",
  "gigachat",
]);

/** Longest run that a recursive splitter is given: half of what 16 MiB of stack were found to hold. */
export const maxRun = 16_384;

/** Whether a text with a long run would end the process. */
export function splitsRecursively(metadata: Metadata): boolean {
  if (metadata.string("tokenizer.ggml.model") === "llama") return false;
  return !loopSplitters.has(metadata.string("tokenizer.ggml.pre", "default"));
}

/** Length of the longest run of only white space or of none: no splitter's word has both in both orders. */
export function longestRun(text: string): number {
  let longest = 0;
  // U+FEFF is white space to JavaScript alone.
  for (const [run] of text.matchAll(/(?:(?!\ufeff)\s)+|[\S\ufeff]+/g))
    longest = Math.max(longest, run.length);
  return longest;
}
