import { StowageError } from "../errors.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { Random } from "./random.ts";

/** Kinds of tokens in GGUF files. */
const kinds = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;

const specials = ["<unk>", "<s>", "</s>"];
const bytes = 256;
const leastPieces = 1;

/** SentencePiece writes a space as this. */
const space = "\u2581";
/** In the order of their frequency in English, so that early merges meet real text. */
const characters = `${space}etaoinshrdlcumwfgypbvkjxqzTASHWIBCMLPDNRFEGOYJUKVQXZ.,'"-;:!?()0123456789_*/=+<>[]{}#&@%$\`~|\\^`;
const longestPiece = 10;
/** Second halves of merges come out of so many of the first pieces, so that pieces stay short. */
const tails = 400;

/** How many tokens at the start of the vocabulary are no text. */
export const specialTokens = specials.length;

/**
 * The metadata of a made-up SentencePiece BPE vocabulary: three special tokens, all bytes, single characters, and
 * pieces that are each the merge of two earlier ones. Any text can be tokenised with it. Depends on nothing but
 * its size.
 * @throws StowageError synth_invalid when `size` has no room for the bytes
 */
export function syntheticVocabulary(size: number): [string, GgufValue][] {
  const least = specials.length + bytes + leastPieces;
  if (!Number.isInteger(size) || size < least) {
    throw new StowageError("synth_invalid", {
      field: "vocabulary",
      value: size,
      limit: `a whole number of at least ${least}`,
    });
  }
  const hex = (byte: number) => byte.toString(16).toUpperCase().padStart(2, "0");
  const byteTokens = Array.from({ length: bytes }, (_, byte) => `<0x${hex(byte)}>`);
  const pieces = makePieces(size - specials.length - bytes);
  const kindOf = (index: number) => {
    if (index === 0) return kinds.unknown;
    if (index < specials.length) return kinds.control;
    return index < specials.length + bytes ? kinds.byte : kinds.normal;
  };
  return [
    ["tokenizer.ggml.model", gguf.string("llama")],
    ["tokenizer.ggml.pre", gguf.string("default")],
    ["tokenizer.ggml.tokens", gguf.strings([...specials, ...byteTokens, ...pieces])],
    // Merges are tried by falling score: earlier pieces first.
    ["tokenizer.ggml.scores", gguf.f32s(Array.from({ length: size }, (_, index) => -index))],
    ["tokenizer.ggml.token_type", gguf.i32s(Array.from({ length: size }, (_, index) => kindOf(index)))],
    ["tokenizer.ggml.unknown_token_id", gguf.u32(0)],
    ["tokenizer.ggml.bos_token_id", gguf.u32(1)],
    ["tokenizer.ggml.eos_token_id", gguf.u32(2)],
    ["tokenizer.ggml.add_bos_token", gguf.bool(true)],
    ["tokenizer.ggml.add_eos_token", gguf.bool(false)],
    ["tokenizer.ggml.add_space_prefix", gguf.bool(false)],
  ];
}

function makePieces(count: number): string[] {
  const pieces = [...characters].slice(0, count);
  const known = new Set(pieces);
  const random = new Random(1);
  while (pieces.length < count) {
    const head = pieces[early(random, pieces.length)]!;
    const tail = pieces[early(random, Math.min(pieces.length, tails))]!;
    const piece = head + tail;
    // A space only begins a piece, as in trained vocabularies.
    if (tail.startsWith(space) || piece.length > longestPiece || known.has(piece)) continue;
    known.add(piece);
    pieces.push(piece);
  }
  return pieces;
}

/** An index below `count`, rather a small one: frequent characters are merged first. */
function early(random: Random, count: number): number {
  return random.below(1 + random.below(count));
}
