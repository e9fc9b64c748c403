import type { Metadata } from "../src/gguf/metadata.ts";

/** White space as Unicode has it: JavaScript's has U+FEFF too, and no U+0085. */
const s = "\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const notBefore = `[${s}]+(?![^${s}])`;
const ends = `[${s}]*[\\r\\n]+|${notBefore}|[${s}]+`;
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${s}\\p{L}\\p{N}]+|${notBefore}`;
const digits = (most: string) =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${most}| ?[^${s}\\p{L}\\p{N}]+[\\r\\n]*|${ends}`;
const upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const cased = (after: string, most: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${after}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${after}|\\p{N}${most}| ?[^${s}\\p{L}\\p{N}]+[\\r\\n/]*|${ends}`;

/**
 * How trained tokenizers split texts before BPE, each pattern applied to what the one before left: what it matches
 * is a piece, and so is what stands between. From the models' own `tokenizer.json`.
 */
const patterns: Readonly<Record<string, readonly string[]>> = {
  "gpt-2": [gpt2],
  "llama-bpe": [digits("{1,3}")],
  qwen2: [digits("")],
  qwen35: [
    `${contractions}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^${s}\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${ends}`,
  ],
  starcoder: ["\\p{N}", gpt2],
  "deepseek-v3": [
    "\\p{N}{1,3}",
    "[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+",
    `[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_\`\\{\\|\\}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${ends}`,
  ],
  "deepseek-coder": [
    "[\\r\\n]",
    `[${s}]?\\p{L}+`,
    `[${s}]?\\p{P}+`,
    "[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]+",
    "\\p{N}",
  ],
  "gpt-4o": [cased(`${contractions}?`, "{1,3}")],
  tekken: [cased("", "")],
  minicpm5: ["\\p{N}{1,3}", digits("+")],
  bailingmoe: [
    `'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^${s}\\p{L}\\p{N}]+[\\r\\n]*|[${s}]*[\\r\\n]|${notBefore}|[${s}]+`,
  ],
};

/** Those for which the reference has patterns of its own. */
export const referenceSplitters: readonly string[] = Object.keys(patterns);

/** A text into the pieces that BPE works in. */
export function splitterOf(name: string): (text: string) => string[] {
  const expressions = patterns[name]!.map((pattern) => new RegExp(pattern, "gu"));
  return (text) =>
    expressions.reduce((pieces, expression) => pieces.flatMap((piece) => isolate(piece, expression)), [text]);
}

/** What matches, and what stands between, in order. */
function isolate(text: string, expression: RegExp): string[] {
  const pieces: string[] = [];
  let end = 0;
  for (const { 0: match, index } of text.matchAll(expression)) {
    pieces.push(text.slice(end, index), match);
    end = index + match.length;
  }
  return [...pieces, text.slice(end)].filter((piece) => piece !== "");
}

/** The letter that stands for each byte in vocabularies of byte pairs: GPT-2's. */
export const byteLetters: readonly string[] = (() => {
  const isItself = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let others = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isItself(byte) ? byte : others++));
})();

export function toLetters(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => byteLetters[byte]!).join("");
}

/** Those whose words are taken whole where they are tokens. */
const wholeWords = new Set(["llama-bpe", "tekken", "minicpm5"]);

/**
 * BPE by its definition, slow and plain: in each piece of the text, of all neighbours that have a merge, the pair
 * whose merge was learnt first is joined first, the leftmost among equals. The second opinion in the tokenizer's tests.
 */
export class BpeReference {
  readonly #split: (text: string) => string[];
  readonly #whole: boolean;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #ranks: ReadonlyMap<string, number>;
  /** Cut out before anything else, the longest first. */
  readonly #userDefined: readonly string[];

  constructor(metadata: Metadata, splitter: string) {
    const tokens = metadata.strings("tokenizer.ggml.tokens");
    const types = metadata.numbers("tokenizer.ggml.token_type");
    const merges = metadata.strings("tokenizer.ggml.merges");
    this.#split = splitterOf(splitter);
    this.#whole = wholeWords.has(splitter);
    this.#ids = new Map(tokens.map((text, id) => [text, id]));
    this.#ranks = new Map(merges.map((merge, rank) => [merge, rank]));
    this.#userDefined = tokens.filter((_, id) => types[id] === 4).sort((a, b) => b.length - a.length);
  }

  encode(text: string): number[] {
    const cut = this.#userDefined.reduce<(string | number)[]>(
      (parts, token) =>
        parts.flatMap((part) => {
          if (typeof part === "number") return [part];
          const between = part.split(token);
          return between.flatMap((piece, index) => (index === 0 ? [piece] : [this.#ids.get(token)!, piece]));
        }),
      [text.toWellFormed()],
    );
    return cut.flatMap((part) =>
      typeof part === "number" ? [part] : this.#split(part).flatMap((piece) => this.#merge(toLetters(piece))),
    );
  }

  #merge(word: string): number[] {
    const whole = this.#whole ? this.#ids.get(word) : undefined;
    if (whole !== undefined) return [whole];
    const symbols = [...word];
    for (;;) {
      let best = -1;
      let bestRank = Number.POSITIVE_INFINITY;
      for (let left = 0; left + 1 < symbols.length; left++) {
        const rank = this.#ranks.get(`${symbols[left]} ${symbols[left + 1]}`);
        if (rank !== undefined && rank < bestRank) {
          best = left;
          bestRank = rank;
        }
      }
      if (best < 0) return symbols.map((symbol) => this.#ids.get(symbol)!);
      symbols.splice(best, 2, symbols[best]! + symbols[best + 1]!);
    }
  }
}
