import type { Metadata } from "../src/gguf/metadata.ts";

/** Token types in a GGUF file. */
const unknownType = 2;
const controlType = 3;
const userDefinedType = 4;

/**
 * SentencePiece BPE by its definition, slow and plain: of all neighbours that join to a token, the pair with the
 * best score is joined first, the leftmost among equals; what is no token at the end becomes bytes.
 * The second opinion in the tokenizer's tests. For vocabularies that add nothing to a text.
 */
export class SpmReference {
  readonly #ids: ReadonlyMap<string, number>;
  readonly #scores: readonly number[];
  readonly #types: readonly number[];
  /** Tokens that are cut out of a text before it is split, the longest first. */
  readonly #special: readonly string[];

  constructor(metadata: Metadata) {
    const tokens = metadata.strings("tokenizer.ggml.tokens");
    this.#ids = new Map(tokens.map((text, id) => [text, id]));
    this.#scores = metadata.numbers("tokenizer.ggml.scores");
    this.#types = metadata.numbers("tokenizer.ggml.token_type");
    this.#special = tokens
      .filter((_, id) => [unknownType, controlType, userDefinedType].includes(this.#types[id]!))
      .sort((a, b) => b.length - a.length);
  }

  encode(text: string, parseSpecial: boolean): number[] {
    let parts: (string | number)[] = [text.toWellFormed()];
    for (const special of this.#special) {
      const id = this.#ids.get(special)!;
      if (!parseSpecial && this.#types[id] !== userDefinedType) continue;
      parts = parts.flatMap((part) => (typeof part === "string" ? cutOut(part, special, id) : [part]));
    }
    return parts.flatMap((part) => (typeof part === "string" ? this.#split(part) : [part]));
  }

  #split(text: string): number[] {
    const symbols = Array.from(text.replaceAll(" ", "\u2581"));
    for (;;) {
      let best = -1;
      let bestScore = -Infinity;
      for (let left = 0; left + 1 < symbols.length; left++) {
        const id = this.#ids.get(symbols[left]! + symbols[left + 1]!);
        if (id !== undefined && this.#scores[id]! > bestScore) {
          best = left;
          bestScore = this.#scores[id]!;
        }
      }
      if (best < 0) break;
      symbols.splice(best, 2, symbols[best]! + symbols[best + 1]!);
    }
    return symbols.flatMap((symbol) => this.#ids.get(symbol) ?? this.#bytes(symbol));
  }

  #bytes(symbol: string): number[] {
    return Array.from(new TextEncoder().encode(symbol), (byte) => {
      const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
      return this.#ids.get(name)!;
    });
  }
}

function cutOut(text: string, special: string, id: number): (string | number)[] {
  return text
    .split(special)
    .flatMap((part, index) => (index === 0 ? [part] : [id, part]))
    .filter((part) => part !== "");
}
