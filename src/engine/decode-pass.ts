import { type LoadedModel, type LoadOptions, loadEngine } from "./load.ts";
import { Losses, lossOf } from "./perplexity.ts";
import { argmax } from "./sampling/select.ts";
import { readText, type TextPassOptions } from "./text-pass.ts";

/** What a model made of a text that it read token by token, as it decodes. */
export interface DecodePass {
  /** Negative log-probabilities of the scored tokens, nats. */
  readonly losses: Float64Array;
  /** The most likely token in the place of each. */
  readonly best: Int32Array;
  readonly perplexity: number;
  readonly tokensPerSecond: number;
  /** What came of its budget for experts, a token; both precisions of a lossy mode together. */
  readonly readBytes: number;
  readonly stallMs: number;
  /** Shares of the experts that tokens chose which were there, were run low, and were skipped. */
  readonly hits: number;
  readonly low: number;
  readonly skipped: number;
}

/**
 * Loads a model and has it read a text in steps of one token: what happens to experts there is what happens when answers
 * are decoded, and in the very same places at every call. The first chunk warms it up: it is scored and not timed,
 * unless it is the only one.
 * @throws StowageError as `loadEngine` and `readText`
 */
export async function decodeText(
  path: string,
  text: string,
  load: LoadOptions,
  options: TextPassOptions & { readonly onChunk?: (done: number, chunks: number) => void },
): Promise<DecodePass> {
  const { chunkTokens, onChunk } = options;
  const sizes = { contextTokens: chunkTokens, kvTokens: chunkTokens, maxSequences: 1, stepTokens: 1 };
  const model = await loadEngine(path, { ...load, ...sizes });
  try {
    const losses: number[] = [];
    const best: number[] = [];
    const sum = new Losses();
    const chunkMs: number[] = [];
    const scored = (logits: Float32Array, next: number) => {
      sum.add(logits, next);
      losses.push(lossOf(logits, next));
      best.push(argmax(logits));
    };
    await model.engine.settled;
    let started = performance.now();
    for await (const { done, chunks } of readText(model, text, options, scored)) {
      chunkMs.push(performance.now() - started);
      onChunk?.(done, chunks);
      started = performance.now();
    }
    const timed = chunkMs.length > 1 ? chunkMs.slice(1) : chunkMs;
    const ms = timed.reduce((total, each) => total + each, 0);
    return {
      losses: Float64Array.from(losses),
      best: Int32Array.from(best),
      perplexity: sum.estimate.perplexity,
      tokensPerSecond: (1000 * chunkTokens * timed.length) / ms,
      ...expertsOf(model, chunkMs.length * chunkTokens),
    };
  } finally {
    await model.dispose();
  }
}

function expertsOf({ experts, lossy }: LoadedModel, tokens: number) {
  const caches = [experts, lossy?.low].flatMap((cache) => cache?.metrics ?? []);
  const total = (of: (metrics: (typeof caches)[number]) => number) =>
    caches.reduce((sum, metrics) => sum + of(metrics), 0);
  const hits = total(({ total }) => total.hits);
  const skipped = lossy?.served.skipped ?? 0;
  const asked = hits + total(({ total }) => total.misses + total.late) + skipped;
  return {
    readBytes: total(({ readBytes }) => readBytes) / tokens,
    stallMs: total(({ stallMs }) => stallMs) / tokens,
    hits: asked > 0 ? hits / asked : 1,
    low: asked > 0 ? (lossy?.served.low ?? 0) / asked : 0,
    skipped: asked > 0 ? skipped / asked : 0,
  };
}
