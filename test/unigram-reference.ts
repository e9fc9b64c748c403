import type { Metadata } from "../src/gguf/metadata.ts";

/** Token types in a GGUF file. */
const normal = 1;
const userDefined = 4;
const unused = 5;
/** How much worse than the worst piece an unknown character is. */
const unknownPenalty = 10;

interface Best {
  readonly token: number;
  readonly from: number;
  readonly score: number;
}

/**
 * SentencePiece's unigram model by its definition: of all ways to spell a text with pieces, the one whose scores add
 * up to the most; characters that no piece begins with are unknown, neighbours of them one token.
 */
export class UnigramReference {
  readonly #pieces: ReadonlyMap<string, { token: number; score: number }>;
  readonly #unknown: number;
  readonly #unknownScore: number;
  readonly #userDefined: readonly { text: string; token: number }[];
  readonly #addSpacePrefix: boolean;
  readonly #mergeSpaces: boolean;

  constructor(metadata: Metadata) {
    const tokens = metadata.strings("tokenizer.ggml.tokens");
    const types = metadata.numbers("tokenizer.ggml.token_type");
    const scores = metadata.numbers("tokenizer.ggml.scores");
    const entries = tokens.map((text, token) => ({
      text,
      token,
      score: scores[token]!,
      type: types[token]!,
    }));
    const usable = entries.filter(({ type }) => type === normal || type === userDefined || type === unused);
    this.#pieces = new Map(
      usable.map(({ text, token, score, type }) => [
        text,
        { token, score: type === userDefined ? 0 : score },
      ]),
    );
    this.#userDefined = entries.filter(({ type }) => type === userDefined);
    this.#unknown = metadata.number("tokenizer.ggml.unknown_token_id", 2);
    const worst = Math.min(...entries.filter(({ type }) => type === normal).map(({ score }) => score));
    this.#unknownScore = Math.fround(worst - unknownPenalty);
    this.#addSpacePrefix = metadata.boolean("tokenizer.ggml.add_space_prefix", false);
    this.#mergeSpaces = metadata.boolean("tokenizer.ggml.remove_extra_whitespaces", false);
  }

  encode(text: string): number[] {
    let parts: (string | number)[] = [text.toWellFormed()];
    for (const { text: spelling, token } of this.#userDefined) {
      parts = parts.flatMap((part) =>
        typeof part === "number"
          ? [part]
          : part.split(spelling).flatMap((piece, index) => (index === 0 ? [piece] : [token, piece])),
      );
    }
    return parts.flatMap((part) => (typeof part === "number" ? [part] : this.#spell(this.#normalise(part))));
  }

  /** Spaces as U+2581. */
  #normalise(text: string): string {
    const merged = this.#mergeSpaces ? text.replace(/ +/g, " ").replace(/^ | $/g, "") : text;
    const words = merged.replace(/^ */, "") !== "";
    const prefixed = this.#mergeSpaces ? words : this.#addSpacePrefix && words;
    return (prefixed ? withSpace(merged, this.#mergeSpaces) : merged).replaceAll(" ", "\u2581");
  }

  #spell(text: string): number[] {
    const characters = [...text];
    const best: Best[] = [{ token: this.#unknown, from: 0, score: 0 }];
    for (let from = 0; from < characters.length; from++) {
      const here = best[from]!.score;
      const offer = (to: number, token: number, score: number) => {
        if (score > (best[to]?.score ?? Number.NEGATIVE_INFINITY)) best[to] = { token, from, score };
      };
      for (let to = from + 1; to <= characters.length; to++) {
        const piece = this.#pieces.get(characters.slice(from, to).join(""));
        if (piece) offer(to, piece.token, here + piece.score);
      }
      if (!this.#pieces.has(characters[from]!)) offer(from + 1, this.#unknown, here + this.#unknownScore);
    }
    const tokens: number[] = [];
    for (let to = characters.length; to > 0; to = best[to]!.from) {
      const { token } = best[to]!;
      if (token !== this.#unknown || tokens[0] !== this.#unknown) tokens.unshift(token);
    }
    return tokens;
  }
}

/** The space that begins a text stands before its first word. */
function withSpace(text: string, merged: boolean): string {
  return merged ? ` ${text}` : text.replace(/^( *)/, "$1 ");
}
