import { StowageError } from "../errors.ts";
import { LlamaModel } from "../ggml/llama-model.ts";
import type { LlamaVocabulary, VocabularyType } from "../ggml/llama-vocabulary.ts";
import { type GgufFile, openGguf } from "../gguf/read.ts";
import { SpecialTokens } from "./special-tokens.ts";
import { Utf8Stream } from "./utf8.ts";
import { checkVocabulary, longestRun, maxRun, splitsRecursively, vocabularyWarning } from "./vocabulary.ts";

/**
 * Longest text that is encoded, bytes of UTF-8 (1 MiB): libllama takes about a second for it, in which the event
 * loop waits.
 */
export const maxTextBytes = 1024 * 1024;

interface Piece {
  readonly bytes: Uint8Array;
  /** The same as text, where all of it is ASCII. */
  readonly ascii: string | undefined;
  /** Not part of the text (control tokens). */
  readonly hidden: boolean;
}

/**
 * Text to tokens and back, with the vocabulary in the model's file. The tokens are llama.cpp's, because its own
 * code makes them. One owner; freed by `dispose`.
 */
export class Tokenizer {
  /** Beginning of sequence; undefined when the model has none. So for the next one. */
  readonly bos: number | undefined;
  /** End of sequence. */
  readonly eos: number | undefined;
  /** Whether `encode` with `addSpecial` puts `bos` first. */
  readonly addsBos: boolean;
  /** Tokens are the integers from 0 to this, exclusive. */
  readonly vocabularySize: number;
  readonly type: VocabularyType;
  /** The chat template that the file carries, if any; see `ChatTemplate`. */
  readonly chatTemplate: string | undefined;
  /** What its owner should be told of the vocabulary; undefined when there is nothing. */
  readonly warning: StowageError | undefined;
  readonly #model: LlamaModel;
  readonly #vocabulary: LlamaVocabulary;
  #special: SpecialTokens | undefined;
  readonly #maxRun: number | undefined;
  readonly #pieces: (Piece | undefined)[];

  /**
   * Reads the vocabulary alone, off the event loop.
   * @param file a GGUF file that was read; or its path, of several shards the first
   * @throws StowageError gguf_* and vocabulary_invalid when the file is not good; native_call_failed when libllama
   *   refuses it for another reason
   */
  static async load(file: string | GgufFile): Promise<Tokenizer> {
    const { metadata, path } = typeof file === "string" ? await openGguf(file) : file;
    checkVocabulary(metadata);
    const model = await LlamaModel.load(path, { vocabOnly: true, mmap: true });
    const recursive = splitsRecursively(metadata);
    return new Tokenizer(model, recursive ? maxRun : undefined, vocabularyWarning(metadata));
  }

  private constructor(model: LlamaModel, maxRun: number | undefined, warning: StowageError | undefined) {
    const { vocabulary } = model;
    this.bos = vocabulary.bos;
    this.eos = vocabulary.eos;
    this.addsBos = vocabulary.addsBos;
    this.vocabularySize = vocabulary.size;
    this.type = vocabulary.type;
    this.chatTemplate = model.chatTemplate;
    this.warning = warning;
    this.#model = model;
    this.#vocabulary = vocabulary;
    this.#maxRun = maxRun;
    this.#pieces = new Array(vocabulary.size);
  }

  /**
   * Lone surrogates count as U+FFFD.
   * @param options.addSpecial whether the tokens that open and close every text of this model are added
   * @param options.parseSpecial whether the spelling of a special token becomes that token: true for text that a
   *   chat template made, false for what a user wrote
   * @param options.anyLength also longer than {@link maxTextBytes}, for whoever has nobody waiting
   * @throws StowageError text_too_long, text_run_too_long, native_disposed
   */
  encode(
    text: string,
    options: { addSpecial: boolean; parseSpecial: boolean; anyLength?: boolean },
  ): Int32Array {
    const bytes = text.length <= maxTextBytes ? Buffer.byteLength(text) : text.length;
    if (bytes > maxTextBytes && !options.anyLength)
      throw new StowageError("text_too_long", { found: bytes, limit: maxTextBytes });
    const run = this.#maxRun === undefined || text.length <= this.#maxRun ? 0 : longestRun(text);
    if (run > maxRun) throw new StowageError("text_run_too_long", { found: run, limit: maxRun });
    this.#special ??= new SpecialTokens(this.#vocabulary);
    return this.#special.encode(Buffer.from(text), options);
  }

  /**
   * The text of a whole sequence of tokens. Bytes that are not UTF-8 become U+FFFD. Word pieces (BERT's) are put together
   * as prose; text of every other kind comes back as it was, but for what its vocabulary cannot say.
   * @param options.showControl whether control tokens are spelled out; else they are left out
   * @throws StowageError token_invalid, native_disposed
   */
  decode(tokens: Iterable<number>, options: { showControl?: boolean } = {}): string {
    const list = Array.from(tokens);
    const wrong = list.find((token) => !Number.isInteger(token) || token < 0 || token >= this.vocabularySize);
    if (wrong !== undefined) {
      throw new StowageError("token_invalid", { token: wrong, limit: this.vocabularySize });
    }
    const showControl = options.showControl ?? false;
    if (this.type === "bpe") return decoder.decode(this.#piecesOf(list, showControl));
    const text = decoder.decode(this.#vocabulary.detokenize(Int32Array.from(list), showControl));
    // Every word piece that begins a word begins with a space.
    return this.type === "wpm" && text.startsWith(" ") ? text.slice(1) : text;
  }

  /**
   * The bytes that a token stands for, not always whole characters; of control tokens, their spelling.
   * The array is shared: do not write to it.
   * @throws StowageError token_invalid, native_disposed
   */
  pieceBytes(token: number): Uint8Array {
    return this.#piece(token).bytes;
  }

  /**
   * The bytes of all tokens, one after the other as {@link Tokenizer.pieceBytes} gives them: token t has those from
   * `starts[t]` to `starts[t + 1]`. Read anew at each call, and not kept.
   * @throws StowageError native_disposed
   */
  allPieces(): { bytes: Uint8Array; starts: Int32Array } {
    const starts = new Int32Array(this.vocabularySize + 1);
    const pieces = Array.from({ length: this.vocabularySize }, (_, token) => {
      const piece = this.#pieces[token]?.bytes ?? this.#vocabulary.tokenToPiece(token, true);
      starts[token + 1] = starts[token]! + piece.length;
      return piece;
    });
    return { bytes: Buffer.concat(pieces), starts };
  }

  /** Whether generation ends with this token: end of sequence, of turn or of message. */
  isEndOfGeneration(token: number): boolean {
    return this.#vocabulary.isEndOfGeneration(token);
  }

  /** Whether the token steers the model and is no text. */
  isControl(token: number): boolean {
    return this.#vocabulary.isControl(token);
  }

  /**
   * A detokeniser for tokens that come one by one, as the continuation of a text.
   * @param options.showControl whether control tokens are spelled out; else only those of `shown` are
   */
  stream(options: { showControl?: boolean; shown?: ReadonlySet<number> } = {}): TokenStream {
    return new TokenStream((token) => {
      const piece = this.#piece(token);
      const isShown = !piece.hidden || options.showControl || options.shown?.has(token);
      return isShown ? piece : nothing;
    });
  }

  dispose(): void {
    this.#pieces.length = 0;
    this.#model.dispose();
  }

  /** libllama would take the space before some punctuation away, which byte pairs had kept. */
  #piecesOf(tokens: readonly number[], showControl: boolean): Uint8Array {
    const pieces = tokens.map((token) => this.#piece(token));
    return Buffer.concat(pieces.map(({ bytes, hidden }) => (hidden && !showControl ? nothing.bytes : bytes)));
  }

  #piece(token: number): Piece {
    const known = this.#pieces[token];
    if (known) return known;
    const bytes = this.#vocabulary.tokenToPiece(token, true);
    const hidden = bytes.length > 0 && this.#vocabulary.tokenToPiece(token, false).length === 0;
    const ascii = bytes.every((byte) => byte < 0x80) ? decoder.decode(bytes) : undefined;
    const piece = { bytes, ascii, hidden };
    this.#pieces[token] = piece;
    return piece;
  }
}

/** Takes tokens, gives text, never half a character. */
export class TokenStream {
  readonly #pieceOf: (token: number) => Piece;
  readonly #characters = new Utf8Stream();

  constructor(pieceOf: (token: number) => Piece) {
    this.#pieceOf = pieceOf;
  }

  /** The text that is complete after this token; empty while a character is unfinished. */
  push(token: number): string {
    const { bytes, ascii } = this.#pieceOf(token);
    return ascii === undefined ? this.#characters.push(bytes) : this.#characters.pushAscii(ascii, bytes);
  }

  /** Ends the text: an unfinished character becomes U+FFFD. */
  flush(): string {
    return this.#characters.flush();
  }
}

const nothing: Piece = { bytes: new Uint8Array(0), ascii: "", hidden: true };
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
