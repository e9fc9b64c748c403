/** Small vocabularies of every kind, learnt from the project's sample texts: for tests, and for models that tests write. */
import { type GgufValue, gguf } from "../src/gguf/values.ts";
import { writeGguf } from "../src/gguf/write.ts";
import { byteLetters, splitterOf, toLetters } from "./bpe-reference.ts";
import { sampleTexts } from "./texts.ts";
import { wordsOf } from "./wordpiece-reference.ts";

/** What a file says of its vocabulary, by key. */
export type Vocabulary = Readonly<Record<string, GgufValue>>;

const types = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
type TokenType = keyof typeof types;

const texts = sampleTexts(400).map((text) => text.toWellFormed());
const space = "\u2581";
const byteTokens = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);

/** Byte pairs, merges learnt with GPT-2's way to split; a file of it is split by `pre`. */
export function bytePairVocabulary(pre: string, merges = 600): Vocabulary {
  const learnt = learnMerges(merges);
  const tokens: [string, TokenType][] = [
    ["<|endoftext|>", "control"],
    ["<|im_start|>", "control"],
    ["<|im_end|>", "control"],
    ...byteLetters.map((letter): [string, TokenType] => [letter, "normal"]),
    ...learnt.map((merge): [string, TokenType] => [merge.replace(" ", ""), "normal"]),
    ["helloWorld", "userDefined"],
    ["    ", "userDefined"],
  ];
  return {
    ...keysOf("gpt2", tokens),
    "tokenizer.ggml.pre": gguf.string(pre),
    "tokenizer.ggml.merges": gguf.strings(learnt),
    "tokenizer.ggml.bos_token_id": gguf.u32(0),
    "tokenizer.ggml.eos_token_id": gguf.u32(2),
    "tokenizer.ggml.add_bos_token": gguf.bool(false),
  };
}

/** SentencePiece with a score for each piece: frequent pieces first. */
export function unigramVocabulary(options: { addSpacePrefix: boolean; mergeSpaces: boolean }): Vocabulary {
  const pieces = frequent(
    texts.flatMap((text) => text.split(" ").map((word) => space + word)),
    900,
  );
  const tokens: [string, TokenType][] = [
    ["<pad>", "control"],
    ["</s>", "control"],
    ["<unk>", "unknown"],
    ["<s>", "control"],
    ["helloWorld", "userDefined"],
    ["<unused0>", "unused"],
    ...pieces.map(({ piece }): [string, TokenType] => [piece, "normal"]),
  ];
  const total = pieces.reduce((sum, { count }) => sum + count, 0);
  const scores = [0, 0, 0, 0, 0, -20, ...pieces.map(({ count }) => Math.fround(Math.log(count / total)))];
  return {
    ...keysOf("t5", tokens),
    "tokenizer.ggml.scores": gguf.f32s(scores),
    "tokenizer.ggml.add_space_prefix": gguf.bool(options.addSpacePrefix),
    "tokenizer.ggml.remove_extra_whitespaces": gguf.bool(options.mergeSpaces),
  };
}

/** BERT's word pieces. In files, what begins a word has U+2581 before it, and what goes on has nothing. */
export function wordPieceVocabulary(): Vocabulary {
  const words = texts.flatMap((text) => wordsOf(text)).map((word) => space + word);
  const pieces = frequent(words, 700).map(({ piece }) => piece);
  const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
  return {
    ...keysOf("bert", [
      ...specials.map((text): [string, TokenType] => [text, "control"]),
      ...pieces.map((piece): [string, TokenType] => [piece, "normal"]),
    ]),
    "tokenizer.ggml.padding_token_id": gguf.u32(0),
    "tokenizer.ggml.unknown_token_id": gguf.u32(1),
    "tokenizer.ggml.bos_token_id": gguf.u32(2),
    "tokenizer.ggml.seperator_token_id": gguf.u32(3),
    "tokenizer.ggml.mask_token_id": gguf.u32(4),
    "tokenizer.ggml.token_type_count": gguf.u32(2),
  };
}

/** RWKV's: all bytes, and words; the longest that fits is taken. Its spellings are those of Python's bytes. */
export function rwkvVocabulary(): Vocabulary {
  const bytes = Array.from({ length: 256 }, (_, byte) => escaped(Uint8Array.of(byte)));
  const words = frequent(texts, 300).filter(({ piece }) => Buffer.byteLength(piece) > 1);
  const spelled = words.map(({ piece }) => escaped(Buffer.from(piece)));
  return keysOf("rwkv", [
    ["<s>", "control"],
    ...[...bytes, ...spelled].map((text): [string, TokenType] => [text, "normal"]),
  ]);
}

/** PLaMo 2's: pieces with scores, and a token for each byte. */
export function plamoVocabulary(): Vocabulary {
  const pieces = frequent(texts, 300);
  const specials = ["<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>", "<|plamo:pad|>"];
  return {
    ...keysOf("plamo2", [
      ...specials.map((text): [string, TokenType] => [text, "control"]),
      ...byteTokens.map((text): [string, TokenType] => [text, "byte"]),
      ...pieces.map(({ piece }): [string, TokenType] => [piece, "normal"]),
    ]),
    "tokenizer.ggml.scores": gguf.f32s([
      ...Array.from({ length: 260 }, () => 0),
      ...pieces.map((_, rank) => -Math.log(rank + 2)),
    ]),
  };
}

/** A file with nothing but a vocabulary. */
export async function writeVocabulary(path: string, vocabulary: Vocabulary): Promise<void> {
  const metadata = new Map([
    ["general.architecture", gguf.string("llama")] as const,
    ...Object.entries(vocabulary),
  ]);
  const tensors = [{ name: "token_embd.weight", type: "F32", shape: [1] }] as const;
  await writeGguf(path, { metadata, tensors, data: () => new Uint8Array(4) });
}

function keysOf(model: string, tokens: readonly [string, TokenType][]): Vocabulary {
  return {
    "tokenizer.ggml.model": gguf.string(model),
    "tokenizer.ggml.tokens": gguf.strings(tokens.map(([text]) => text)),
    "tokenizer.ggml.token_type": gguf.i32s(tokens.map(([, type]) => types[type])),
  };
}

/** Merges of neighbours, the most frequent first, as BPE is trained. */
function learnMerges(count: number): string[] {
  const words = new Map<string, { parts: string[]; count: number }>();
  for (const word of texts.flatMap((text) => splitterOf("gpt-2")(text)).map(toLetters)) {
    const known = words.get(word);
    if (known) known.count++;
    else words.set(word, { parts: [...word], count: 1 });
  }
  const merges: string[] = [];
  while (merges.length < count) {
    const pairs = new Map<string, number>();
    for (const { parts, count } of words.values()) {
      for (let left = 0; left + 1 < parts.length; left++) {
        const pair = `${parts[left]} ${parts[left + 1]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + count);
      }
    }
    const [best] = [...pairs].reduce((a, b) => (b[1] > a[1] ? b : a));
    const [head, tail] = best.split(" ") as [string, string];
    merges.push(best);
    for (const { parts } of words.values()) {
      for (let left = 0; left + 1 < parts.length; left++) {
        if (parts[left] === head && parts[left + 1] === tail) parts.splice(left, 2, head + tail);
      }
    }
  }
  return merges;
}

/** Every character of the words, and the most frequent of their parts that are longer. */
function frequent(words: readonly string[], count: number): { piece: string; count: number }[] {
  const longest = 6;
  const counts = new Map<string, number>();
  const add = (piece: string) => counts.set(piece, (counts.get(piece) ?? 0) + 1);
  for (const word of words) {
    const characters = [...word].slice(0, 80);
    for (let from = 0; from < characters.length; from++) {
      for (let length = 1; length <= longest && from + length <= characters.length; length++) {
        add(characters.slice(from, from + length).join(""));
      }
    }
  }
  const usable = [...counts].filter(([piece]) => !piece.includes("\0"));
  const single = usable.filter(([piece, count]) => [...piece].length === 1 && count > 1);
  // No part of a special token's name is a piece: the name would be there twice.
  const several = usable.filter(([piece]) => [...piece].length > 1 && !/[<[]/.test(piece));
  several.sort(([a, m], [b, n]) => n * b.length - m * a.length || (a < b ? -1 : 1));
  return [...single, ...several.slice(0, count)].map(([piece, count]) => ({ piece, count }));
}

/** A literal of Python's bytes, without its quotes. */
function escaped(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString();
  if (bytes.length > 1 && Buffer.from(text).equals(bytes)) {
    return text.replace(
      /[\\\t\n\r]/g,
      (found) => ({ "\t": "\\t", "\n": "\\n", "\r": "\\r" })[found] ?? "\\\\",
    );
  }
  return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}
