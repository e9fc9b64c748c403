import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { LlamaModel } from "../src/ggml/llama-model.ts";
import { loadForTest, type TestModel } from "./forward.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { sampleTexts } from "./sample-texts.ts";

const windowTokens = 256;
const endOfText = 1;

describe("the sample model", { skip: withoutSample }, () => {
  let model: TestModel;
  let vocabulary: LlamaModel;
  before(async () => {
    model = await loadForTest(samplePath, windowTokens);
    vocabulary = await LlamaModel.load(samplePath, { vocabOnly: true });
  });
  after(() => {
    model?.dispose();
    vocabulary?.dispose();
  });

  it("is at most 30 MB", () => {
    assert.ok(statSync(samplePath).size <= 30_000_000);
  });

  // As models/README.md reports it, with room for another processor's rounding.
  const losses = { prose: 3.817, mathematics: 3.245, code: 2.883 } as const;
  for (const [domain, expected] of Object.entries(losses) as [keyof typeof losses, number][]) {
    it(`predicts ${domain} as well as its card says`, async () => {
      const text = Buffer.from(sampleTexts[domain]);
      const tokens = [...vocabulary.vocabulary.tokenize(text, { addSpecial: false, parseSpecial: false })];
      const found = await loss(model, tokens);
      assert.ok(Math.abs(found - expected) < 0.02, `${found} nats a token, ${expected} expected`);
    });
  }
});

/** Cross-entropy in nats a token, in windows that each begin a new text. */
async function loss(model: TestModel, tokens: readonly number[]): Promise<number> {
  let total = 0;
  let count = 0;
  for (let first = 0; first < tokens.length; first += windowTokens - 1) {
    const window = [endOfText, ...tokens.slice(first, first + windowTokens - 1)];
    const rows = await model.logits(window.slice(0, -1));
    for (const [index, row] of rows.entries()) total -= logProbability(row, window[index + 1]!);
    count += rows.length;
  }
  return total / count;
}

function logProbability(logits: Float32Array, token: number): number {
  const greatest = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - greatest), 0);
  return logits[token]! - greatest - Math.log(sum);
}
