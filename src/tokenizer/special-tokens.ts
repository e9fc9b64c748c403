import { type LlamaVocabulary, tokenAttributes } from "../ggml/llama-vocabulary.ts";

interface Special {
  readonly token: number;
  readonly spelling: Buffer;
  /** Part of every text, not only of text in which special tokens are parsed. */
  readonly always: boolean;
}

/** A text in parts: bytes that are still to be split, and tokens. */
type Parts = (Buffer | number)[];

/**
 * Cuts special tokens out of a text before libllama splits the rest, by the same rules: the longest spelling first,
 * each from the left. libllama's own cutting takes time that grows with the square of how many there are (a minute
 * for 1 MiB of new lines, where the new line is such a token); this one is linear.
 */
export class SpecialTokens {
  readonly #vocabulary: LlamaVocabulary;
  /** The longest spelling first. */
  readonly #special: readonly Special[];
  /** Some tokens swallow the spaces around them: then libllama does all. */
  readonly #strips: boolean;
  /** What opens and what closes a text, as far as its kind of vocabulary has that. */
  readonly #opening: Int32Array;
  readonly #closing: Int32Array;

  constructor(vocabulary: LlamaVocabulary) {
    const { unknown, control, userDefined, stripsLeft, stripsRight } = tokenAttributes;
    const special: Special[] = [];
    let strips = false;
    for (let token = 0; token < vocabulary.size; token++) {
      const attributes = vocabulary.attributes(token);
      if ((attributes & (unknown | control | userDefined)) === 0) continue;
      const spelling = Buffer.from(vocabulary.spelling(token));
      const always = (attributes & (unknown | control)) === 0;
      if (spelling.length > 0) special.push({ token, spelling, always });
      strips ||= (attributes & (stripsLeft | stripsRight)) !== 0;
    }
    this.#vocabulary = vocabulary;
    this.#special = special.sort((a, b) => b.spelling.length - a.spelling.length);
    this.#strips = strips;
    const around = vocabulary.tokenize(new Uint8Array(0), { addSpecial: true, parseSpecial: false });
    const opens = vocabulary.type === "wpm" || vocabulary.addsBos;
    this.#opening = around.slice(0, opens ? 1 : 0);
    this.#closing = around.slice(this.#opening.length);
  }

  /** As `LlamaVocabulary.tokenize`. */
  encode(text: Buffer, options: { addSpecial: boolean; parseSpecial: boolean }): Int32Array {
    const vocabulary = this.#vocabulary;
    const present = this.#special.filter(
      ({ always, spelling }) => (always || options.parseSpecial) && text.includes(spelling),
    );
    if (this.#strips || present.length === 0) return vocabulary.tokenize(text, options);
    let parts: Parts = [text];
    for (const special of present) parts = cut(parts, special);

    const tokens: number[] = [];
    if (options.addSpecial) tokens.push(...this.#opening);
    for (const part of parts) {
      if (typeof part === "number") tokens.push(part);
      else {
        const split = vocabulary.tokenize(part, { addSpecial: false, parseSpecial: options.parseSpecial });
        for (const token of split) tokens.push(token);
      }
    }
    if (options.addSpecial) tokens.push(...this.#closing);
    return Int32Array.from(tokens);
  }
}

/** Puts the token wherever its spelling stands. */
function cut(parts: Parts, { token, spelling }: Special): Parts {
  const result: Parts = [];
  for (const part of parts) {
    if (typeof part === "number") {
      result.push(part);
      continue;
    }
    let start = 0;
    for (let found = part.indexOf(spelling); found >= 0; found = part.indexOf(spelling, start)) {
      if (found > start) result.push(part.subarray(start, found));
      result.push(token);
      start = found + spelling.length;
    }
    if (start < part.length) result.push(part.subarray(start));
  }
  return result;
}
