/** The llama.cpp side of a benchmark, as a process. */
import { loadLlama } from "../ggml/llama.ts";
import { LlamaContext } from "../ggml/llama-context.ts";
import { LlamaModel } from "../ggml/llama-model.ts";
import { diskBytes, type Subject, serveSide } from "./serve-side.ts";
import type { DecodeSamples, FirstToken, ReplaySamples, SideOptions } from "./side-messages.ts";

/** Steps before the first that is measured: caches, clocks and the compiler of this loop have then settled. */
const warmupSteps = 8;

/**
 * llama.cpp at its best case: nothing else runs in this process, calls are synchronous, the batch is used again,
 * the thread pool is kept, and the next token is chosen here, which takes half the time of llama.cpp's own greedy
 * sampler (8 against 15 µs at 8,192 tokens).
 */
class Llama implements Subject {
  readonly #options: SideOptions;
  #loaded: { model: LlamaModel; context: LlamaContext } | undefined;

  constructor(options: SideOptions) {
    this.#options = options;
  }

  /** From before the file is opened to the first token; the library itself is loaded. No warm-up: it would be one. */
  async loadToFirstToken(prompt: readonly number[]): Promise<FirstToken> {
    this.#loaded?.model.dispose();
    this.#loaded = undefined;
    const started = performance.now();
    const context = await this.#context();
    const token = prefill(context, 0, prompt);
    return { milliseconds: performance.now() - started, token };
  }

  /** The whole prompt, to its first token; the second time counts. */
  async prefill(prompt: readonly number[]): Promise<FirstToken> {
    const context = await this.#context();
    context.clear();
    prefill(context, 0, prompt);
    context.clear();
    const started = performance.now();
    const token = prefill(context, 0, prompt);
    return { milliseconds: performance.now() - started, token };
  }

  /** Greedy decoding, all prompts side by side. */
  async decode(prompts: readonly (readonly number[])[], steps: number): Promise<DecodeSamples> {
    const context = await this.#context();
    context.clear();
    const current = prompts.map((prompt, sequence) => prefill(context, sequence, prompt));
    const tokens = current.map((token) => [token]);
    const samples: number[] = [];
    for (let step = 0; step < warmupSteps + steps; step++) {
      const started = performance.now();
      context.batch.clear();
      for (let sequence = 0; sequence < current.length; sequence++) {
        context.batch.add(current[sequence]!, prompts[sequence]!.length + step, sequence, true);
      }
      context.run();
      for (let sequence = 0; sequence < current.length; sequence++) {
        current[sequence] = largest(context.logits(sequence));
      }
      const elapsed = performance.now() - started;
      if (step >= warmupSteps) samples.push(elapsed);
      current.forEach((token, sequence) => {
        tokens[sequence]!.push(token);
      });
    }
    return { stepMilliseconds: samples, tokens };
  }

  /** One sequence from an empty cache: the prompt, then the given tokens one a step. No warm-up: that is the caller's. */
  async replay(prompt: readonly number[], forced: readonly number[]): Promise<ReplaySamples> {
    const context = await this.#context();
    context.clear();
    const readBefore = diskBytes();
    const started = performance.now();
    const best = [prefill(context, 0, prompt)];
    const prefillMs = performance.now() - started;
    const readByPrefill = diskBytes();
    const steps = forced.map((token, step) => {
      const from = performance.now();
      context.batch.clear();
      context.batch.add(token, prompt.length + step, 0, true);
      context.run();
      best.push(largest(context.logits(0)));
      return performance.now() - from;
    });
    return {
      prefill: { milliseconds: [prefillMs], diskBytes: readByPrefill - readBefore },
      decode: { milliseconds: steps, diskBytes: diskBytes() - readByPrefill },
      best,
    };
  }

  async #context(): Promise<LlamaContext> {
    if (!this.#loaded) {
      const { modelPath, repack, mmap, threads, contextTokens, sequences, flashAttention, unifiedKv } =
        this.#options;
      const model = await LlamaModel.load(modelPath, {
        ...(repack !== undefined && { repack }),
        ...(mmap !== undefined && { mmap }),
      });
      const context = new LlamaContext(model, {
        threads,
        contextTokens,
        sequences,
        ...(flashAttention !== undefined && { flashAttention }),
        ...(unifiedKv !== undefined && { unifiedKv }),
      });
      this.#loaded = { model, context };
    }
    return this.#loaded.context;
  }
}

/** Computes a prompt from an empty sequence on, and chooses the token after it. */
function prefill(context: LlamaContext, sequence: number, prompt: readonly number[]): number {
  const { batch } = context;
  let last = 0;
  for (let start = 0; start < prompt.length; start += batch.capacity) {
    const end = Math.min(start + batch.capacity, prompt.length);
    batch.clear();
    for (let position = start; position < end; position++) {
      batch.add(prompt[position]!, position, sequence, position === prompt.length - 1);
    }
    context.run();
    last = end - start - 1;
  }
  return largest(context.logits(last));
}

/** The index of the largest value; the first among equals. */
function largest(values: Float32Array): number {
  let best = 0;
  let bestValue = values[0]!;
  for (let index = 1; index < values.length; index++) {
    const value = values[index]!;
    if (value > bestValue) {
      bestValue = value;
      best = index;
    }
  }
  return best;
}

serveSide((options) => {
  loadLlama();
  return new Llama(options);
});
