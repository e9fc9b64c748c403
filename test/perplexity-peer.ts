import { LlamaContext } from "../src/ggml/llama-context.ts";
import { LlamaModel } from "../src/ggml/llama-model.ts";

/**
 * The perplexity that llama.cpp's tool would print, written down anew from how it defines it, with libllama's logits:
 * chunks of equal length, each begun with the token for beginnings where the model wants that, the second half scored.
 */
export async function perplexityByLlama(path: string, text: string, chunkTokens: number): Promise<number> {
  const model = await LlamaModel.load(path);
  try {
    const { vocabulary } = model;
    const tokens = vocabulary.tokenize(Buffer.from(text), { addSpecial: true, parseSpecial: false });
    const context = new LlamaContext(model, { contextTokens: chunkTokens, threads: 1, flashAttention: true });
    const half = Math.floor(chunkTokens / 2);
    let [sum, count] = [0, 0];
    for (let start = 0; start + chunkTokens <= tokens.length; start += chunkTokens) {
      context.clear();
      const chunk = [...tokens.subarray(start, start + chunkTokens)];
      const first = vocabulary.addsBos ? vocabulary.bos! : chunk[0]!;
      const rows = context.decode(
        [first, ...chunk.slice(1)].map((token, position) => {
          return { token, position, sequence: 0, wantLogits: position >= half };
        }),
      );
      for (let position = half; position < chunkTokens - 1; position++) {
        const logits = Array.from(rows[position - half]!);
        const best = logits.reduce((a, b) => Math.max(a, b));
        const total = logits.reduce((all, logit) => all + Math.exp(logit - best), 0);
        sum += best + Math.log(total) - logits[chunk[position + 1]!]!;
        count++;
      }
    }
    return Math.exp(sum / count);
  } finally {
    model.dispose();
  }
}
