import { StowageError } from "../errors.ts";
import type { VocabularyType } from "../ggml/llama-vocabulary.ts";
import type { Metadata } from "../gguf/metadata.ts";
import { charsmapFault } from "./charsmap.ts";
import { splitters } from "./splitters.ts";

/** The kind of vocabulary that each value of `tokenizer.ggml.model` stands for. */
const kinds: Readonly<Record<string, VocabularyType>> = {
  llama: "spm",
  gpt2: "bpe",
  gemma4: "bpe",
  whitespace: "bpe",
  hybriddna: "bpe",
  bert: "wpm",
  t5: "ugm",
  rwkv: "rwkv",
  plamo2: "plamo2",
};
const maxTokens = 1 << 20;
/** Longest spelling of a token, bytes: libllama recurses once a byte. */
const maxSpelling = 4096;
/** What a token is, in `tokenizer.ggml.token_type`. */
const byteType = 6;

/** What the checks below look at. */
interface Parts {
  readonly metadata: Metadata;
  readonly kind: VocabularyType;
  readonly tokens: readonly string[];
  readonly types: readonly number[] | undefined;
  readonly invalid: (reason: string) => StowageError;
}

const key = (name: string) => `tokenizer.ggml.${name}`;

/**
 * Checks what libllama takes for granted: a file that fails here would end the process that loads it, or one of the
 * first texts would, or its tokens would be wrong without a sign.
 * @throws StowageError vocabulary_invalid naming what is wrong; gguf_metadata_* when a key is missing or has another type
 */
export function checkVocabulary(metadata: Metadata): void {
  const invalid = (reason: string) => new StowageError("vocabulary_invalid", { path: metadata.path, reason });
  const model = metadata.string(key("model"));
  const kind = Object.hasOwn(kinds, model) ? kinds[model]! : "none";
  if (kind === "none") {
    throw invalid(`its kind is "${model}"; supported are ${Object.keys(kinds).join(", ")}.`);
  }
  const tokens = metadata.strings(key("tokens"));
  const types = metadata.has(key("token_type")) ? metadata.numbers(key("token_type")) : undefined;
  const parts = { metadata, kind, tokens, types, invalid };
  checkTokens(parts);
  if (kind === "bpe") checkBytePairs(parts, model);
  if (kind === "spm" || kind === "ugm" || kind === "plamo2") checkScores(parts);
  if (kind === "spm" || kind === "plamo2") checkByteTokens(parts);
  if (kind === "rwkv") checkRwkvBytes(parts);
  if (kind === "wpm" && types?.includes(byteType))
    throw invalid("it has byte tokens, and its kind has none.");
  const charsmap = kind === "ugm" ? metadata.get(key("precompiled_charsmap")) : undefined;
  const fault = charsmap && charsmapFault(charsmap);
  if (fault) throw invalid(`its map of characters is damaged: ${fault}`);
  checkSpecialTokens(parts);
}

function checkTokens({ tokens, types, invalid }: Parts): void {
  if (tokens.length === 0 || tokens.length > maxTokens) {
    throw invalid(`it has ${tokens.length} tokens; 1 to ${maxTokens} are supported.`);
  }
  if (types && types.length < tokens.length) {
    throw invalid(`it has ${tokens.length} tokens, but the types of only ${types.length}.`);
  }
  const ids = new Map<string, number>();
  tokens.forEach((text, id) => {
    // libllama's own name for one without a spelling.
    const spelling = text === "" ? `[EMPTY_${id}]` : text;
    const earlier = ids.get(spelling);
    if (earlier !== undefined) {
      throw invalid(`tokens ${earlier} and ${id} are both spelled ${JSON.stringify(spelling)}.`);
    }
    if (text.includes("\0")) throw invalid(`token ${id} has a zero character in its spelling.`);
    if (text.length > maxSpelling / 4 && Buffer.byteLength(text) > maxSpelling) {
      throw invalid(`token ${id} is spelled with more than ${maxSpelling} bytes.`);
    }
    if (types?.[id] === byteType && !/^<0x[0-9A-F]{2}>$/i.test(text)) {
      throw invalid(`token ${id} stands for a byte, but is spelled ${JSON.stringify(text)}.`);
    }
    ids.set(spelling, id);
  });
}

function checkBytePairs({ metadata, invalid }: Parts, model: string): void {
  const pre = metadata.string(key("pre"), "default");
  if (!splitters.has(pre)) {
    const known = [...splitters.keys()].sort().join(", ");
    throw invalid(`its way to split texts is "${pre}" (${key("pre")}); known are ${known}.`);
  }
  // Others would be given words with spaces in them, and libllama ends the process at one.
  if (pre === "whitespace" && model !== "whitespace") {
    throw invalid(`it splits texts at "whitespace", and its kind is "${model}".`);
  }
  // Kimi K2's merges are in the order of its tokens.
  if (pre === "kimi-k2" && !metadata.has(key("merges"))) return;
  if (!metadata.has(key("merges"))) throw invalid(`it has no merges (${key("merges")}).`);
  const merges = metadata.strings(key("merges"));
  const broken = merges.findIndex((merge) => merge.indexOf(" ", 1) < 0);
  if (broken >= 0) throw invalid(`merge ${broken} is ${JSON.stringify(merges[broken])}, and no pair.`);
}

function checkScores({ metadata, tokens, types, invalid }: Parts): void {
  if (!metadata.has(key("scores"))) throw invalid(`its tokens have no scores (${key("scores")}).`);
  if (!types) throw invalid(`its tokens have no types (${key("token_type")}).`);
  const scores = metadata.numbers(key("scores"));
  if (scores.length < tokens.length) {
    throw invalid(`it has ${tokens.length} tokens, but scores for only ${scores.length}.`);
  }
  const none = scores.findIndex((score) => Number.isNaN(score));
  if (none >= 0) throw invalid(`the score of token ${none} is no number.`);
}

/** Whatever is no other token is spelled with these. */
function checkByteTokens({ kind, tokens, types, invalid }: Parts): void {
  const bytes = new Set(tokens.filter((_, id) => kind === "spm" || (types![id] === byteType && id > 0)));
  for (let byte = 0; byte < 256; byte++) {
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
    if (!bytes.has(name)) throw invalid(`the byte token ${name} is missing.`);
  }
}

/** Without one of them, libllama would never come to the end of a text. */
function checkRwkvBytes({ tokens, invalid }: Parts): void {
  const bytes = new Set(tokens.map(rwkvByte));
  for (let byte = 0; byte < 256; byte++) {
    if (!bytes.has(byte)) throw invalid(`it has no token for the byte ${byte}.`);
  }
}

/** The byte that a spelling of this kind stands for; undefined when it stands for more. */
function rwkvByte(spelling: string): number | undefined {
  const [, plain, escaped, hex] = /^(?:([^\\])|\\([^x])|\\x([0-9a-f]{2}))$/s.exec(spelling) ?? [];
  if (hex !== undefined) return Number.parseInt(hex, 16);
  const named = { t: 9, n: 10, r: 13 }[escaped ?? ""];
  const code = named ?? (plain ?? escaped)?.charCodeAt(0);
  return code !== undefined && code < 128 ? code : undefined;
}

/** Those that a text of this kind cannot do without; the numbers are what libllama takes where the file says none. */
function checkSpecialTokens({ metadata, kind, tokens, invalid }: Parts): void {
  const adds = (name: string, usual: boolean) => metadata.boolean(key(name), usual);
  const needed: readonly [string, number, boolean][] = [
    [
      "bos_token_id",
      kind === "wpm" ? 101 : 1,
      kind === "wpm" || (kind === "spm" && adds("add_bos_token", true)),
    ],
    ["eos_token_id", kind === "ugm" ? 1 : 2, adds("add_eos_token", kind === "ugm") && /spm|ugm/.test(kind)],
    ["seperator_token_id", 102, kind === "wpm"],
    ["unknown_token_id", kind === "wpm" ? 100 : 2, kind === "wpm" || kind === "ugm"],
  ];
  for (const [name, usual, isNeeded] of needed) {
    const id = metadata.number(key(name), usual);
    if (isNeeded && id >= tokens.length && usual >= tokens.length) {
      throw invalid(`${key(name)} is missing, and its kind needs that token.`);
    }
  }
}

/** Longest run that a recursive splitter is given: half of what 16 MiB of stack were found to hold. */
export const maxRun = 16_384;

/** Whether a text with a long run would end the process. */
export function splitsRecursively(metadata: Metadata): boolean {
  if (kinds[metadata.string(key("model"))] !== "bpe") return false;
  return splitters.get(metadata.string(key("pre"), "default")) === "recursive";
}

/** What is said of a vocabulary that works, but perhaps not as it was meant; undefined when there is nothing. */
export function vocabularyWarning(metadata: Metadata): StowageError | undefined {
  if (kinds[metadata.string(key("model"))] !== "bpe" || metadata.has(key("pre"))) return undefined;
  return new StowageError("vocabulary_splitter", { path: metadata.path });
}

/** Length of the longest run of only white space or of none: no splitter's word has both in both orders. */
export function longestRun(text: string): number {
  let longest = 0;
  // U+FEFF is white space to JavaScript alone.
  for (const [run] of text.matchAll(/(?:(?!\ufeff)\s)+|[\S\ufeff]+/g))
    longest = Math.max(longest, run.length);
  return longest;
}
