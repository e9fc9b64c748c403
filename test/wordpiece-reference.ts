import type { Metadata } from "../src/gguf/metadata.ts";

const wordStart = "\u2581";
const isBreak = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u;
/** Dropped: controls, formats, and what stands for nothing. */
const isNothing = /[\0\ufffd\p{Cc}\p{Cf}\p{Co}]/u;
const isMark = /\p{M}/u;
/** A word of its own. */
const isAlone =
  /[\p{P}$+<=>^`|~]|[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/u;

/** BERT's words of a text: without accents, in small letters, punctuation and Chinese characters each by themselves. */
export function wordsOf(text: string): string[] {
  const words = [""];
  for (const character of text.toWellFormed().normalize("NFD")) {
    if (isBreak.test(character)) words.push("");
    else if (isNothing.test(character) || isMark.test(character)) continue;
    else if (isAlone.test(character)) words.push(character.toLowerCase(), "");
    else words[words.length - 1] += character.toLowerCase();
  }
  return words.filter((word) => word !== "");
}

/** WordPiece by its definition: of each word the longest token that fits, again and again; what cannot be spelled is unknown. */
export class WordPieceReference {
  readonly #ids: ReadonlyMap<string, number>;
  readonly #unknown: number;

  constructor(metadata: Metadata) {
    this.#ids = new Map(metadata.strings("tokenizer.ggml.tokens").map((text, id) => [text, id]));
    this.#unknown = metadata.number("tokenizer.ggml.unknown_token_id");
  }

  encode(text: string): number[] {
    return wordsOf(text).flatMap((word) => this.#pieces(wordStart + word) ?? [this.#unknown]);
  }

  #pieces(word: string): number[] | undefined {
    const pieces: number[] = [];
    let rest = [...word];
    while (rest.length > 0) {
      let length = rest.length;
      while (length > 0 && !this.#ids.has(rest.slice(0, length).join(""))) length--;
      if (length === 0) return undefined;
      pieces.push(this.#ids.get(rest.slice(0, length).join(""))!);
      rest = rest.slice(length);
    }
    return pieces;
  }
}
