import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Metadata } from "../gguf/metadata.ts";
import { gguf } from "../gguf/values.ts";
import { topicalTokens, topicMetadata, topicOf, topicsOf } from "./topics.ts";

const process = { vocabulary: 1001, topics: 10, meanRun: 20 };

describe("topicalTokens", () => {
  it("gives runs of one topic, of the mean length asked for", () => {
    const tokens = topicalTokens(4, 50_000, process);
    const changes = tokens.filter(
      (token, index) => index > 0 && topicOf(token, 10) !== topicOf(tokens[index - 1]!, 10),
    );
    // 2500 are expected, with a standard deviation of 49.
    assert.ok(Math.abs(changes.length - 2500) < 200, `${changes.length} changes`);
  });

  it("uses every token but the special ones, about equally", () => {
    const uses = new Array(1001).fill(0);
    for (const token of topicalTokens(5, 200_000, process)) uses[token]++;
    assert.deepEqual(uses.slice(0, 3), [0, 0, 0]);
    // 200 each: runs are drawn by topic, so that topics differ by a few per cent, and tokens by their own share too.
    const others = uses.slice(3);
    assert.ok(Math.min(...others) > 120 && Math.max(...others) < 300);
  });

  it("is the same for the same seed, whatever its length, and another for another", () => {
    const tokens = topicalTokens(6, 100, process);
    assert.deepEqual(topicalTokens(6, 60, process), tokens.slice(0, 60));
    assert.notDeepEqual(topicalTokens(7, 100, process), tokens);
  });

  it("with one topic, gives tokens that are independent", () => {
    const tokens = topicalTokens(8, 1000, { vocabulary: 300, topics: 1, meanRun: 1 });
    assert.ok(tokens.every((token) => token >= 3 && token < 300));
    assert.ok(new Set(tokens).size > 270);
  });
});

describe("topicsOf", () => {
  const vocabulary = gguf.strings(Array.from({ length: 1001 }, (_, token) => `${token}`));

  it("reads what topicMetadata wrote", () => {
    const values = new Map([...topicMetadata(process), ["tokenizer.ggml.tokens", vocabulary] as const]);
    assert.deepEqual(topicsOf(new Metadata(values, "model.gguf")), process);
  });

  it("is undefined for a model without topics", () => {
    assert.equal(topicsOf(new Metadata(new Map(), "model.gguf")), undefined);
  });
});
