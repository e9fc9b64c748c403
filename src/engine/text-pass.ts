import { StowageError } from "../errors.ts";
import type { KvRun } from "../kv/cache.ts";
import type { ActivationSums } from "../model/activation-sums.ts";
import type { LoadedModel } from "./load.ts";
import { StepRunner } from "./step-runner.ts";

export interface TextPassOptions {
  /** Tokens of a chunk, at least 8 and at most the model's context. */
  readonly chunkTokens: number;
  /** Chunks to read. Default: all that are whole. */
  readonly chunks?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Sums up the activations. */
  readonly sums?: ActivationSums | undefined;
}

/** A chunk was read. */
export interface ChunkRead {
  /** Of the whole text, as they are there. */
  readonly tokens: Int32Array;
  readonly chunks: number;
  /** Chunks done, this one included. */
  readonly done: number;
}

/** Fewer tokens would leave next to nothing to score. */
const leastChunk = 8;

/**
 * Reads a text as llama.cpp's tools for perplexity and importance matrices do: cut into chunks of equally many tokens, each
 * a sequence of its own that begins, where the model wants that, with its token for beginnings in place of the chunk's
 * first; what is left at the end is not read. A loaded model whose engine nobody uses runs them.
 * @param scored called with the logits after each token of a chunk's second half, but its last, in order, and the token that
 *   follows; the logits are valid during the call only
 * @yields after each chunk
 * @throws StowageError model_embeds, load_option, text_too_short; the signal's reason
 */
export async function* readText(
  model: LoadedModel,
  text: string,
  options: TextPassOptions,
  scored: (logits: Float32Array, next: number) => void,
): AsyncGenerator<ChunkRead> {
  const { chunkTokens, signal, sums } = options;
  const { tokenizer, engine, runtime } = model;
  engine.checkGenerates();
  const { contextTokens, stepTokens } = engine.limits;
  if (!Number.isInteger(chunkTokens) || chunkTokens < leastChunk || chunkTokens > contextTokens) {
    const range = `a whole number from ${leastChunk} to ${contextTokens}`;
    throw new StowageError("load_option", { option: "contextTokens", value: chunkTokens, range });
  }
  const tokens = tokenizer.encode(text, { addSpecial: true, parseSpecial: false, anyLength: true });
  const whole = Math.floor(tokens.length / chunkTokens);
  if (whole === 0) throw new StowageError("text_too_short", { found: tokens.length, needed: chunkTokens });
  const chunks = Math.min(options.chunks ?? whole, whole);
  // Kernels round differently before all weights are where they stay.
  await engine.settled;
  const limits = { maxTokens: stepTokens, maxSequences: 1 };
  const steps = new StepRunner({ ...runtime, ...(sums && { sums }) }, limits);
  try {
    for (let chunk = 0; chunk < chunks; chunk++) {
      const own = tokens.slice(chunk * chunkTokens, (chunk + 1) * chunkTokens);
      const opened = [...own];
      if (tokenizer.addsBos && tokenizer.bos !== undefined) opened[0] = tokenizer.bos;
      const run: KvRun = { first: 0, capacity: chunkTokens, tokens: [] };
      while (run.tokens.length < chunkTokens) {
        signal?.throwIfAborted();
        await runStep(steps, run, opened, own, stepTokens, scored);
        sums?.commit();
      }
      yield { tokens, chunks, done: chunk + 1 };
    }
  } finally {
    steps.dispose();
  }
}

/** The next step of a chunk. */
async function runStep(
  steps: StepRunner,
  run: KvRun,
  opened: readonly number[],
  own: Int32Array,
  stepTokens: number,
  scored: (logits: Float32Array, next: number) => void,
): Promise<void> {
  const first = run.tokens.length;
  const mine = opened.slice(first, first + stepTokens);
  const end = first + mine.length;
  const firstScored = Math.max(first, Math.floor(own.length / 2));
  const wanted = Math.max(0, end - firstScored);
  const visit = (_entry: number, logits: Float32Array) => {
    if (wanted === 0) return;
    const vocabulary = logits.length / wanted;
    for (let position = firstScored; position < Math.min(end, own.length - 1); position++) {
      const row = position - firstScored;
      scored(logits.subarray(row * vocabulary, (row + 1) * vocabulary), own[position + 1]!);
    }
  };
  await steps.run([{ run, tokens: mine, outputs: Math.max(wanted, 1) }], () => {}, visit);
  run.tokens.push(...mine);
}
