import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type MakePrompt, textOfWords, textPrompts, tokenPrompts } from "./prompts.ts";
import { words } from "./words.ts";

const pool = Array.from({ length: 200 }, (_, index) => 1000 + index);
const request = (inputTokens: number, blocks?: readonly number[], blockTokens?: number) => ({
  at: 0,
  inputTokens,
  outputTokens: 1,
  ...(blocks && blockTokens && { blocks, blockTokens }),
});

/** How many first pieces two prompts have in common. */
function common(a: readonly unknown[], b: readonly unknown[]): number {
  const first = a.findIndex((piece, index) => piece !== b[index]);
  return first === -1 ? a.length : first;
}

describe("tokenPrompts", () => {
  const make = tokenPrompts(pool, 1);

  it("has exactly as many tokens as asked for, of the pool", () => {
    for (const length of [1, 7, 4096]) {
      const prompt = make(request(length), 0) as number[];
      assert.equal(prompt.length, length);
      assert.ok(prompt.every((token) => pool.includes(token)));
    }
  });

  it("is another for each request and each seed, and comes again", () => {
    const first = make(request(64), 0);
    assert.deepEqual(make(request(64), 0), first);
    assert.notDeepEqual(make(request(64), 1), first);
    assert.notDeepEqual(tokenPrompts(pool, 2)(request(64), 0), first);
  });

  it("shares as many blocks as the trace says, also where they are no whole number of tokens", () => {
    for (const size of [64, 12.8]) {
      const tokens = (length: number, ...blocks: number[]) => make(request(length, blocks, size), blocks[1]!);
      const shared = common(tokens(200, 5, 6, 7, 8) as number[], tokens(220, 5, 6, 9, 8) as number[]);
      assert.equal(shared, Math.round(2 * size));
    }
  });

  it("shares the beginning of a block that is cut short", () => {
    const whole = make(request(128, [5, 6], 64), 0) as number[];
    assert.equal(common(make(request(70, [5, 6], 64), 1) as number[], whole), 70);
  });
});

describe("textPrompts", () => {
  const wordsOf = (make: MakePrompt, tokens: number, ...blocks: number[]) =>
    String(make(request(tokens, blocks, 100), 0)).split(" ");

  it("has as many words as make the tokens, and at least one", () => {
    const make = textPrompts({ fixedTokens: 20, tokensPerWord: 1.25 }, 1);
    assert.deepEqual(
      [1, 20, 21, 145, 1020].map((tokens) => wordsOf(make, tokens).length),
      [1, 1, 1, 100, 800],
    );
  });

  it("shares blocks by their length in words", () => {
    const make = textPrompts({ fixedTokens: 20, tokensPerWord: 1.25 }, 1);
    assert.equal(common(wordsOf(make, 400, 1, 2, 3), wordsOf(make, 500, 1, 2, 4)), 160);
  });
});

describe("words", () => {
  it("are many, each once, of letters alone", () => {
    assert.ok(words.length > 500);
    assert.deepEqual(
      words.filter((word, index) => !/^[a-z]+$/.test(word) || words.indexOf(word) !== index),
      [],
    );
    assert.equal(textOfWords(12, 1).split(" ").length, 12);
  });
});
