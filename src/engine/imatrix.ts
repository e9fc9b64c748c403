import { ActivationSums } from "../model/activation-sums.ts";
import type { Importance } from "../model/importance.ts";
import type { LoadedModel } from "./load.ts";
import { Losses, type Perplexity } from "./perplexity.ts";
import { readText, type TextPassOptions } from "./text-pass.ts";

export interface ImatrixOptions extends Omit<TextPassOptions, "sums"> {
  /** What the text is called in the result. */
  readonly dataset: string;
  /** Told after each chunk; the perplexity shows whether the model reads the text as it should. */
  readonly progress?: (estimate: Perplexity) => void;
}

/**
 * Has a model read a text, and sums up the squares of what each matrix of its layers is multiplied with, by column and
 * by expert.
 * @throws StowageError as `readText`
 */
export async function makeImportance(
  model: LoadedModel,
  text: string,
  options: ImatrixOptions,
): Promise<Importance> {
  const { runtime, engine, hyperparameters } = model;
  const { chunkTokens, dataset, progress } = options;
  const sums = new ActivationSums(runtime.backend, hyperparameters.experts, engine.limits.stepTokens);
  const losses = new Losses();
  let read = 0;
  try {
    const scored = (logits: Float32Array, next: number) => losses.add(logits, next);
    for await (const { chunks, done } of readText(model, text, { ...options, sums }, scored)) {
      progress?.({ ...losses.estimate, chunks, done });
      read = done;
    }
    return { entries: sums.entries(), datasets: [dataset], chunks: read, chunkTokens };
  } finally {
    sums.dispose();
  }
}
