import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import type { Llama } from "./llama.ts";

/** How a vocabulary splits text; the numbers are llama.cpp's. */
export const vocabularyTypes = ["none", "spm", "bpe", "wpm", "ugm", "rwkv", "plamo2"] as const;
export type VocabularyType = (typeof vocabularyTypes)[number];

/** Flags of a token; the numbers are llama.cpp's. */
export const tokenAttributes = {
  unknown: 1 << 0,
  control: 1 << 3,
  userDefined: 1 << 4,
  stripsLeft: 1 << 7,
  stripsRight: 1 << 8,
} as const;

/** Room for a piece at first, bytes; longer ones take a second call. */
const pieceBytes = 64;

/**
 * The vocabulary of a loaded {@link LlamaModel}, as llama.cpp has it. Lives as long as the model.
 * Token arguments must be integers in [0, size): others throw `token_invalid`, because libllama would end the process.
 */
export class LlamaVocabulary {
  readonly size: number;
  readonly type: VocabularyType;
  /** Beginning of sequence; undefined when the model has none. So for the next two. */
  readonly bos: number | undefined;
  /** End of sequence. */
  readonly eos: number | undefined;
  /** End of turn. */
  readonly eot: number | undefined;
  /** Whether text for this model starts with `bos`. */
  readonly addsBos: boolean;
  /** Whether text for this model ends with `eos`. */
  readonly addsEos: boolean;
  readonly #llama: Llama;
  readonly #pointer: () => Pointer;

  /** @param pointer gives the native vocabulary, or throws `native_disposed` */
  constructor(llama: Llama, pointer: () => Pointer) {
    const { functions } = llama;
    const known = (token: number) => (token < 0 ? undefined : token);
    this.#llama = llama;
    this.#pointer = pointer;
    this.size = functions.llama_vocab_n_tokens(pointer());
    this.type = vocabularyTypes[functions.llama_vocab_type(pointer())] ?? "none";
    this.bos = known(functions.llama_vocab_bos(pointer()));
    this.eos = known(functions.llama_vocab_eos(pointer()));
    this.eot = known(functions.llama_vocab_eot(pointer()));
    this.addsBos = functions.llama_vocab_get_add_bos(pointer());
    this.addsEos = functions.llama_vocab_get_add_eos(pointer());
  }

  /**
   * @param text UTF-8
   * @param options.addSpecial whether the model's beginning and end tokens are added
   * @param options.parseSpecial whether the spellings of special tokens in the text become those tokens
   * @throws StowageError native_call_failed, native_disposed
   */
  tokenize(text: Uint8Array, options: { addSpecial: boolean; parseSpecial: boolean }): Int32Array {
    const { llama_tokenize } = this.#llama.functions;
    const { addSpecial, parseSpecial } = options;
    const vocabulary = this.#pointer();
    return fill("llama_tokenize", new Int32Array(text.length + 2), (room) =>
      llama_tokenize(vocabulary, text, text.length, room, room.length, addSpecial, parseSpecial),
    );
  }

  /**
   * The bytes of a whole text, the way llama.cpp joins pieces: where the vocabulary puts a space before every text,
   * the first token loses it (so it stays when a control token comes first).
   * @param special whether control tokens give their spelling; else they give nothing
   * @throws StowageError token_invalid, native_call_failed, native_disposed
   */
  detokenize(tokens: Int32Array, special: boolean): Uint8Array {
    for (const token of tokens) this.#check(token);
    const { llama_detokenize } = this.#llama.functions;
    const vocabulary = this.#pointer();
    return fill("llama_detokenize", new Uint8Array(8 * tokens.length + 8), (room) =>
      llama_detokenize(vocabulary, tokens, tokens.length, room, room.length, false, special),
    );
  }

  /**
   * The bytes that a token stands for, not always whole characters.
   * @param special whether control tokens give their spelling; else they give nothing
   * @throws StowageError token_invalid, native_call_failed, native_disposed
   */
  tokenToPiece(token: number, special: boolean): Uint8Array {
    this.#check(token);
    const { llama_token_to_piece } = this.#llama.functions;
    const vocabulary = this.#pointer();
    return fill("llama_token_to_piece", new Uint8Array(pieceBytes), (room) =>
      llama_token_to_piece(vocabulary, token, room, room.length, 0, special),
    );
  }

  /** Whether a sequence ends with this token: the model's end of sequence, of turn, or of message. */
  isEndOfGeneration(token: number): boolean {
    this.#check(token);
    return this.#llama.functions.llama_vocab_is_eog(this.#pointer(), token);
  }

  /** Whether the token steers the model and is no text. */
  isControl(token: number): boolean {
    this.#check(token);
    return this.#llama.functions.llama_vocab_is_control(this.#pointer(), token);
  }

  /** The token's flags; see {@link tokenAttributes}. */
  attributes(token: number): number {
    this.#check(token);
    return this.#llama.functions.llama_vocab_get_attr(this.#pointer(), token);
  }

  /** The token's spelling in the vocabulary, which is not always the text that it stands for. */
  spelling(token: number): string {
    this.#check(token);
    return this.#llama.functions.llama_vocab_get_text(this.#pointer(), token);
  }

  #check(token: number): void {
    if (!Number.isInteger(token) || token < 0 || token >= this.size) {
      throw new StowageError("token_invalid", { token, limit: this.size });
    }
  }
}

/**
 * Calls a function that fills an array and returns how many elements it wrote, or the room that it needs, negated.
 * @throws StowageError native_call_failed when more room does not help
 */
function fill<T extends Int32Array | Uint8Array>(name: string, room: T, call: (room: T) => number): T {
  let count = call(room);
  let filled = room;
  if (count < -room.length && count > -(2 ** 31)) {
    filled = new (room.constructor as new (length: number) => T)(-count);
    count = call(filled);
  }
  if (count < 0)
    throw new StowageError("native_call_failed", { call: name, reason: `it returned ${count}.` });
  return filled.slice(0, count) as T;
}
