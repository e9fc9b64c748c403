import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { SpmReference } from "../../test/spm-reference.ts";
import { sampleTexts } from "../../test/texts.ts";
import { StowageError } from "../errors.ts";
import { LlamaModel } from "../ggml/llama-model.ts";
import { openGguf } from "../gguf/read.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { writeGguf } from "../gguf/write.ts";
import { maxTextBytes, Tokenizer } from "./tokenizer.ts";

const hasCode = (code: string) => (error: unknown) => error instanceof StowageError && error.code === code;
const flags = [false, true].flatMap((addSpecial) =>
  [false, true].map((parseSpecial) => ({ addSpecial, parseSpecial })),
);
const texts = sampleTexts(500);

describe("the sample model's tokenizer", { skip: withoutSample }, () => {
  let tokenizer: Tokenizer;
  before(async () => {
    tokenizer = await Tokenizer.load(samplePath);
  });
  after(() => tokenizer?.dispose());

  test("knows its vocabulary", () => {
    assert.equal(tokenizer.vocabularySize, 8192);
    assert.equal(tokenizer.type, "spm");
    assert.equal(tokenizer.addsBos, false);
    assert.equal(tokenizer.eos, 3);
    assert.ok(tokenizer.isEndOfGeneration(3));
    assert.ok(!tokenizer.isEndOfGeneration(2));
    assert.ok(tokenizer.isControl(2));
    assert.ok(!tokenizer.isControl(4));
    assert.match(tokenizer.chatTemplate ?? "", /im_start/);
  });

  test("500 texts give the tokens that libllama gives for the whole model", async () => {
    const model = await LlamaModel.load(samplePath, { mmap: true, repack: false });
    for (const text of texts) {
      for (const options of flags) {
        const expected = model.vocabulary.tokenize(new TextEncoder().encode(text), options);
        assert.deepEqual(tokenizer.encode(text, options), expected, JSON.stringify([text, options]));
      }
    }
    model.dispose();
  });

  test("500 texts give the tokens of SentencePiece's definition", async () => {
    const reference = new SpmReference((await openGguf(samplePath)).metadata);
    for (const text of texts) {
      for (const options of flags) {
        const expected = reference.encode(text, options.parseSpecial);
        assert.deepEqual([...tokenizer.encode(text, options)], expected, JSON.stringify([text, options]));
      }
    }
  });

  test("500 texts come back: whole, and token by token", () => {
    for (const text of texts) {
      // The vocabulary writes spaces as U+2581, so that character itself comes back as a space.
      const expected = text.toWellFormed().replaceAll("\u2581", " ");
      for (const parseSpecial of [false, true]) {
        const tokens = tokenizer.encode(text, { addSpecial: false, parseSpecial });
        assert.equal(tokenizer.decode(tokens, { showControl: true }), expected);
        const stream = tokenizer.stream({ showControl: true });
        const streamed = [...tokens].map((token) => stream.push(token)).join("") + stream.flush();
        assert.equal(streamed, expected.replace(/^\ufeff/, ""));
        const bytes = Buffer.concat([...tokens].map((token) => tokenizer.pieceBytes(token)));
        assert.equal(bytes.toString(), expected);
      }
    }
  });

  test("control tokens are left out unless asked for", () => {
    const text = "<|im_start|>user\nhi<|im_end|>";
    const tokens = tokenizer.encode(text, { addSpecial: false, parseSpecial: true });
    assert.equal(tokenizer.decode(tokens), "user\nhi");
    const hidden = tokenizer.stream();
    assert.equal([...tokens].map((token) => hidden.push(token)).join(""), "user\nhi");
    const plain = tokenizer.encode(text, { addSpecial: false, parseSpecial: false });
    assert.equal(tokenizer.decode(plain), text, "what a user types is text");
    assert.ok(![...plain].some((token) => tokenizer.isControl(token)));
  });

  test("a stream holds back half characters", () => {
    const tokens = [...tokenizer.encode("a😀b", { addSpecial: false, parseSpecial: false })];
    const stream = tokenizer.stream();
    assert.deepEqual(
      tokens.map((token) => stream.push(token)),
      ["a", "", "", "", "😀", "b"],
    );
    assert.equal(stream.push(tokens[1]!), "");
    assert.equal(stream.flush(), "\ufffd");
  });

  test("wrong tokens, long texts and use after dispose are typed errors", async () => {
    for (const token of [-1, 8192, 1.5, Number.NaN, 2 ** 32]) {
      assert.throws(() => tokenizer.pieceBytes(token), hasCode("token_invalid"));
      assert.throws(() => tokenizer.decode([5, token]), hasCode("token_invalid"));
      assert.throws(() => tokenizer.stream().push(token), hasCode("token_invalid"));
      assert.throws(() => tokenizer.isEndOfGeneration(token), hasCode("token_invalid"));
    }
    const options = { addSpecial: false, parseSpecial: false };
    assert.throws(
      () => tokenizer.encode("é".repeat(maxTextBytes / 2 + 1), options),
      hasCode("text_too_long"),
    );
    const other = await Tokenizer.load(samplePath);
    other.pieceBytes(300);
    other.dispose();
    other.dispose();
    assert.throws(() => other.encode("a", options), hasCode("native_disposed"));
    assert.throws(() => other.pieceBytes(300), hasCode("native_disposed"));
  });

  test("the longest text is encoded", () => {
    const tokens = tokenizer.encode("ab ".repeat(maxTextBytes / 3), { addSpecial: true, parseSpecial: true });
    assert.ok(tokens.length > maxTextBytes / 4);
  });
});

describe("other vocabularies", { skip: withoutSample }, () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "stowage-"));
  });
  after(() => rm(folder, { recursive: true }));

  /** The sample model's vocabulary with some keys of `tokenizer.ggml` changed (undefined: taken away), in a file. */
  async function changed(changes: Record<string, GgufValue | undefined>): Promise<string> {
    const path = join(folder, "vocabulary.gguf");
    const metadata = new Map((await openGguf(samplePath)).metadata);
    for (const [key, value] of Object.entries(changes)) {
      if (value) metadata.set(`tokenizer.ggml.${key}`, value);
      else metadata.delete(`tokenizer.ggml.${key}`);
    }
    const tensors = [{ name: "token_embd.weight", type: "F32", shape: [1] }] as const;
    await writeGguf(path, { metadata, tensors, data: () => new Uint8Array(4) });
    return path;
  }

  async function sampleTokens(change: (text: string, id: number) => string): Promise<GgufValue> {
    return gguf.strings((await openGguf(samplePath)).metadata.strings("tokenizer.ggml.tokens").map(change));
  }

  const opening = {
    add_bos_token: gguf.bool(true),
    add_eos_token: gguf.bool(true),
    add_space_prefix: gguf.bool(true),
    bos_token_id: gguf.u32(2),
  };
  const bytePairs = (pre: string) => ({
    model: gguf.string("gpt2"),
    pre: gguf.string(pre),
    merges: gguf.strings(["t h", "th e", "i n", "a n"]),
  });

  test("one that opens texts with a token and a space", async () => {
    const tokenizer = await Tokenizer.load(await changed(opening));
    assert.equal(tokenizer.addsBos, true);
    assert.equal(tokenizer.bos, 2);
    const plain = tokenizer.encode("hello", { addSpecial: false, parseSpecial: false });
    const special = tokenizer.encode("hello", { addSpecial: true, parseSpecial: false });
    assert.deepEqual([...special], [2, ...plain, 3]);
    assert.equal(tokenizer.decode(plain), "hello", "the space that was put first is taken away");
    assert.equal(Buffer.from(tokenizer.pieceBytes(plain[0]!)).toString()[0], " ");
    tokenizer.dispose();
  });

  for (const [name, changes] of Object.entries({
    "spaces before texts": opening,
    "byte pairs": bytePairs("qwen2"),
    "byte pairs, with a beginning and an end": { ...bytePairs("gpt-4o"), ...opening },
  })) {
    test(`${name}: cutting out special tokens changes nothing`, async () => {
      const path = await changed(changes);
      const tokenizer = await Tokenizer.load(path);
      const model = await LlamaModel.load(path, { vocabOnly: true });
      // Recursive splitters take milliseconds for any text.
      for (const text of name.includes("beginning") ? texts.slice(0, 60) : texts) {
        for (const options of flags) {
          const expected = model.vocabulary.tokenize(new TextEncoder().encode(text), options);
          assert.deepEqual(tokenizer.encode(text, options), expected, JSON.stringify([text, options]));
        }
      }
      model.dispose();
      tokenizer.dispose();
    });
  }

  test("a text of many special tokens takes time in proportion", async () => {
    const tokenizer = await Tokenizer.load(samplePath);
    const started = performance.now();
    const text = "\n<|im_end|>".repeat(20_000);
    assert.equal(tokenizer.encode(text, { addSpecial: true, parseSpecial: true }).length, 40_000);
    assert.ok(performance.now() - started < 5000);
    tokenizer.dispose();
  });

  test("a splitter that recurses gets no long runs; others do", async () => {
    const options = { addSpecial: false, parseSpecial: false };
    const recursive = await Tokenizer.load(await changed(bytePairs("gpt-4o")));
    for (const run of ["a", "A", "漢", "!", " ", "\u3000", "\ufeff", "1"]) {
      assert.ok(recursive.encode(run.repeat(16_384), options).length >= 0);
      assert.throws(() => recursive.encode(run.repeat(16_385), options), hasCode("text_run_too_long"));
    }
    assert.ok(recursive.encode("ab ".repeat(100_000), options).length > 0);
    recursive.dispose();
    const loop = await Tokenizer.load(await changed(bytePairs("qwen2")));
    assert.ok(loop.encode("ab".repeat(200_000), options).length > 0);
    loop.dispose();
  });

  test("those that would end the process are refused", async () => {
    const bad: Record<string, Record<string, GgufValue | undefined>> = {
      "no tokens": { tokens: gguf.strings([]) },
      "unknown kind": { model: gguf.string("none") },
      "two tokens alike": {
        tokens: await sampleTokens((text, id) => (id === 500 ? "the" : id === 501 ? "the" : text)),
      },
      "a zero character": { tokens: await sampleTokens((text, id) => (id === 400 ? "a\0b" : text)) },
      "a byte missing": { tokens: await sampleTokens((text) => (text === "<0x0A>" ? "newline" : text)) },
    };
    for (const [name, changes] of Object.entries(bad)) {
      await assert.rejects(Tokenizer.load(await changed(changes)), hasCode("vocabulary_invalid"), name);
    }
    await assert.rejects(
      Tokenizer.load(await changed({ tokens: undefined })),
      hasCode("gguf_metadata_missing"),
    );
    const short = { scores: { type: "array", of: "f32", value: [1, 2] } } as const;
    await assert.rejects(Tokenizer.load(await changed(short)), hasCode("vocabulary_invalid"));
  });
});
