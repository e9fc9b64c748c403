import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { charsmapOf } from "../../test/charsmap.ts";
import { hasCode } from "../../test/has-code.ts";
import { sampleTexts } from "../../test/texts.ts";
import {
  bytePairVocabulary,
  plamoVocabulary,
  rwkvVocabulary,
  unigramVocabulary,
  type Vocabulary,
  wordPieceVocabulary,
  writeVocabulary,
} from "../../test/vocabularies.ts";
import { vocabularyCases } from "../../test/vocabulary-cases.ts";
import { wordsOf } from "../../test/wordpiece-reference.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { splitters } from "./splitters.ts";
import { Tokenizer } from "./tokenizer.ts";

const texts = sampleTexts(400);
const plain = { addSpecial: false, parseSpecial: false };
const bytePairs = bytePairVocabulary("gpt-2");

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "stowage-"));
});
after(() => rm(folder, { recursive: true }));

async function load(vocabulary: Vocabulary, changes: Record<string, GgufValue | undefined> = {}) {
  const path = join(folder, "vocabulary.gguf");
  const entries = Object.entries({ ...vocabulary, ...changes }).filter(([, value]) => value !== undefined);
  await writeVocabulary(path, Object.fromEntries(entries) as Vocabulary);
  return Tokenizer.load(path);
}

/** Whole, and token by token. */
function comesBack(tokenizer: Tokenizer, text: string, expected: string) {
  const tokens = [...tokenizer.encode(text, plain)];
  assert.equal(tokenizer.decode(tokens, { showControl: true }), expected, JSON.stringify(text));
  const stream = tokenizer.stream({ showControl: true });
  const streamed = tokens.map((token) => stream.push(token)).join("") + stream.flush();
  assert.equal(streamed, expected.replace(/^\ufeff/, ""), JSON.stringify(text));
}

describe("tokens are those of the definition", () => {
  for (const { name, vocabulary, reference, texts } of vocabularyCases) {
    test(`${name}: ${texts.length} texts`, async () => {
      const tokenizer = await load(vocabulary);
      for (const text of texts) {
        const expected = reference.encode(text);
        assert.deepEqual([...tokenizer.encode(text, plain)], expected, JSON.stringify(text));
        if (name.startsWith("byte pairs")) comesBack(tokenizer, text, text.toWellFormed());
      }
      tokenizer.dispose();
    });
  }
});

describe("byte pairs", () => {
  test("every way to split that libllama knows loads, and loses nothing", async () => {
    for (const splitter of splitters.keys()) {
      const kind = splitter === "whitespace" ? "whitespace" : "gpt2";
      const tokenizer = await load(bytePairs, {
        "tokenizer.ggml.pre": gguf.string(splitter),
        "tokenizer.ggml.model": gguf.string(kind),
      });
      assert.equal(tokenizer.type, "bpe", splitter);
      assert.equal(tokenizer.warning, undefined);
      const text = "Don't split 12345 façades\n\n  in 日本語, 😀!";
      const tokens = tokenizer.encode(text, plain);
      if (!["whitespace", "gemma4", "granite-embed-multi-311m", "sarvam-moe"].includes(splitter)) {
        assert.equal(tokenizer.decode(tokens), text, splitter);
      }
      tokenizer.dispose();
    }
  });

  test("those with pieces of text instead of bytes", async () => {
    const pieces = ["<unk>", "<bos>", ..."abcdeholw!,.0123", "\u2581", "\n", "lo", "he", "\u2581he"];
    const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
    const bytes = Array.from({ length: 256 }, (_, byte) => hex(byte));
    const tokenizer = await load({
      "tokenizer.ggml.model": gguf.string("gemma4"),
      "tokenizer.ggml.tokens": gguf.strings([...pieces, ...bytes]),
      "tokenizer.ggml.token_type": gguf.i32s([
        ...pieces.map((_, id) => (id < 2 ? 3 : 1)),
        ...bytes.map(() => 6),
      ]),
      "tokenizer.ggml.merges": gguf.strings(["l o", "h e", "\u2581 he"]),
      "tokenizer.ggml.bos_token_id": gguf.u32(1),
    });
    assert.equal(tokenizer.addsBos, true);
    comesBack(tokenizer, "hello  hello 😀\n\nZ", "hello  hello 😀\n\nZ");
    tokenizer.dispose();
  });

  test("a file that does not say how it splits is used, with a warning; a way that is not known is refused", async () => {
    const tokenizer = await load(bytePairs, { "tokenizer.ggml.pre": undefined });
    assert.ok(hasCode("vocabulary_splitter")(tokenizer.warning));
    comesBack(tokenizer, "Hello 123", "Hello 123");
    tokenizer.dispose();
    await assert.rejects(load(bytePairs, { "tokenizer.ggml.pre": gguf.string("mine") }), (error: Error) => {
      assert.ok(hasCode("vocabulary_invalid")(error));
      assert.match(error.message, /"mine".*known are .*gpt-2.*llama-bpe.*qwen2/);
      return true;
    });
  });

  test("text comes back with the spaces before its punctuation", async () => {
    const tokenizer = await load(bytePairs, { "tokenizer.ggml.pre": gguf.string("llama-bpe") });
    for (const text of ["a , b . c ! d ? e", "it 's ' quoted '", "  leading"])
      comesBack(tokenizer, text, text);
    tokenizer.dispose();
  });
});

describe("word pieces", () => {
  test("every text is opened and closed; special tokens in it count only where they may", async () => {
    const tokenizer = await load(wordPieceVocabulary());
    assert.equal(tokenizer.type, "wpm");
    const tokens = [...tokenizer.encode("the sea", plain)];
    assert.deepEqual([...tokenizer.encode("the sea", { ...plain, addSpecial: true })], [2, ...tokens, 3]);
    assert.deepEqual([...tokenizer.encode("", { ...plain, addSpecial: true })], [2, 3]);
    const masked = [...tokenizer.encode("the [MASK] sea", { addSpecial: true, parseSpecial: true })];
    assert.deepEqual(masked, [2, tokens[0], 4, ...tokens.slice(1), 3]);
    assert.ok(!tokenizer.encode("the [MASK] sea", plain).includes(4));
    tokenizer.dispose();
  });

  test("text comes back as prose, in small letters", async () => {
    const tokenizer = await load(wordPieceVocabulary());
    const tokens = tokenizer.encode("It WAS a dark and stormy night.", plain);
    assert.equal(tokenizer.decode(tokens), "it was a dark and stormy night.");
    assert.deepEqual(wordsOf("Don't\u00a0stop"), ["don", "'", "t", "stop"]);
    tokenizer.dispose();
  });
});

describe("unigram", () => {
  test("text comes back, but for spaces that are merged", async () => {
    const tokenizer = await load(unigramVocabulary({ addSpacePrefix: true, mergeSpaces: true }));
    const tokens = tokenizer.encode("  the   captain and the sea ", plain);
    assert.equal(tokenizer.type, "ugm");
    assert.equal(tokenizer.decode(tokens), "the captain and the sea");
    assert.deepEqual([...tokenizer.encode("", { ...plain, addSpecial: true })], [1]);
    tokenizer.dispose();
  });

  test("a map of characters is applied; one that leads out of itself is refused", async () => {
    const vocabulary = unigramVocabulary({ addSpacePrefix: true, mergeSpaces: true });
    const charsmap = charsmapOf({ ﬁ: "fi", Ａ: "A", "\t": " ", "½": "1/2", "\u00ad": "" });
    const key = "tokenizer.ggml.precompiled_charsmap";
    const tokenizer = await load(vocabulary, { [key]: charsmap });
    const tokens = (text: string) => [...tokenizer.encode(text, plain)];
    assert.deepEqual(tokens("ﬁnd\tＡ ½ so\u00adft"), tokens("find A 1/2 soft"));
    tokenizer.dispose();

    const bytes = charsmap.value as number[];
    const changed = (change: (bytes: Buffer) => Buffer) => ({
      [key]: { type: "array", of: "u8", value: [...change(Buffer.from(bytes))] } as const,
    });
    const damaged = {
      cut: changed((map) => map.subarray(0, 3)),
      "longer than it is": changed((map) => {
        map.writeUInt32LE(bytes.length, 0);
        return map;
      }),
      "a text without an end": changed((map) => map.subarray(0, map.length - 1)),
      "a path out of it": changed((map) => {
        map.writeUInt32LE(0x7fff_fc00, 4);
        return map;
      }),
      "no bytes": { [key]: gguf.string("map") },
    };
    for (const [name, changes] of Object.entries(damaged)) {
      await assert.rejects(load(vocabulary, changes), hasCode("vocabulary_invalid"), name);
    }
  });
});

describe("other kinds", () => {
  for (const [kind, vocabulary] of Object.entries({ rwkv: rwkvVocabulary(), plamo2: plamoVocabulary() })) {
    test(`${kind}: texts come back`, async () => {
      const tokenizer = await load(vocabulary);
      assert.equal(tokenizer.type, kind);
      for (const text of texts) {
        const expected = text.toWellFormed();
        // PLaMo 2 takes a byte order mark away.
        comesBack(tokenizer, text, kind === "plamo2" ? expected.replace(/^\ufeff/, "") : expected);
      }
      tokenizer.dispose();
    });
  }
});

describe("damaged vocabularies are refused before libllama sees them", () => {
  const wordPieces = wordPieceVocabulary();
  const unigram = unigramVocabulary({ addSpacePrefix: true, mergeSpaces: true });
  const ofTypes = (vocabulary: Vocabulary, change: (type: number, id: number) => number) => {
    const types = vocabulary["tokenizer.ggml.token_type"]!.value as number[];
    return { "tokenizer.ggml.token_type": gguf.i32s(types.map(change)) };
  };
  const without = (name: string) => ({ [`tokenizer.ggml.${name}`]: undefined });
  const cases: Record<string, [Vocabulary, Record<string, GgufValue | undefined>]> = {
    "none at all": [bytePairs, { "tokenizer.ggml.model": gguf.string("no_vocab") }],
    "a kind of Object's": [bytePairs, { "tokenizer.ggml.model": gguf.string("constructor") }],
    "no merges": [bytePairs, without("merges")],
    "a merge of one": [bytePairs, { "tokenizer.ggml.merges": gguf.strings(["t h", "the"]) }],
    "white space in another kind": [bytePairs, { "tokenizer.ggml.pre": gguf.string("whitespace") }],
    "a byte that is none": [bytePairs, ofTypes(bytePairs, (type, id) => (id === 5 ? 6 : type))],
    "fewer types than tokens": [bytePairs, { "tokenizer.ggml.token_type": gguf.i32s([1, 1]) }],
    "a long token": [
      bytePairs,
      { "tokenizer.ggml.tokens": gguf.strings(["x".repeat(5000), "a"]), ...without("token_type") },
    ],
    "bytes in word pieces": [wordPieces, ofTypes(wordPieces, (type, id) => (id === 9 ? 6 : type))],
    "word pieces that nothing closes": [wordPieces, { ...without("seperator_token_id"), ...few(wordPieces) }],
    "word pieces that nothing opens": [wordPieces, { ...without("bos_token_id"), ...few(wordPieces) }],
    "word pieces, none unknown": [wordPieces, { ...without("unknown_token_id"), ...few(wordPieces) }],
    "no scores": [unigram, without("scores")],
    "fewer scores than tokens": [unigram, { "tokenizer.ggml.scores": gguf.f32s([1, 2]) }],
    "a score that is no number": [
      unigram,
      { "tokenizer.ggml.scores": gguf.f32s(Array(2000).fill(Number.NaN)) },
    ],
    "no types": [unigram, without("token_type")],
    "RWKV without a byte": [
      rwkvVocabulary(),
      { "tokenizer.ggml.tokens": gguf.strings(["\\x00", "a"]), ...without("token_type") },
    ],
    "PLaMo 2 without bytes": [plamoVocabulary(), ofTypes(plamoVocabulary(), () => 1)],
  };
  for (const [name, [vocabulary, changes]] of Object.entries(cases)) {
    test(name, async () => {
      await assert.rejects(load(vocabulary, changes), hasCode("vocabulary_invalid"));
    });
  }

  /** So few tokens that libllama's own numbers for the special ones are out of range. */
  function few(vocabulary: Vocabulary): Record<string, GgufValue> {
    const tokens = vocabulary["tokenizer.ggml.tokens"]!.value as string[];
    const types = vocabulary["tokenizer.ggml.token_type"]!.value as number[];
    return {
      "tokenizer.ggml.tokens": gguf.strings(tokens.slice(0, 60)),
      "tokenizer.ggml.token_type": gguf.i32s(types.slice(0, 60)),
    };
  }
});
