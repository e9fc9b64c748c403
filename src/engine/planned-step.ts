import type { KvCache } from "../kv/cache.ts";
import type { AdapterSet } from "../model/lora/adapters.ts";
import { EmbeddingSequence } from "./embedding.ts";
import { Sequence } from "./sequence.ts";
import type { Speculation } from "./speculation.ts";
import type { StepRecord } from "./step-records.ts";
import type { StepEntry } from "./step-runner.ts";

/** What runs in steps: a generation, or a text whose final states are wanted. */
export type Work = Sequence | EmbeddingSequence;

/** A sequence's part in a step. */
export interface Planned {
  readonly sequence: Work;
  readonly entry: StepEntry;
}

/** Whether it has the one token after those that are computed, and drafts of what follows. */
export function decodes({ tokens, outputs = 1 }: StepEntry): boolean {
  return tokens.length === outputs;
}

export function recordOf(
  at: number,
  batch: readonly Planned[],
  times: { prepareMs: number; computeMs: number; reused: boolean },
  sampleMs: number,
): StepRecord {
  let prefillTokens = 0;
  let decodeSequences = 0;
  let draftedTokens = 0;
  let contextTokens = 0;
  for (const { entry } of batch) {
    if (decodes(entry)) {
      decodeSequences++;
      draftedTokens += entry.tokens.length - 1;
    } else prefillTokens += entry.tokens.length;
    contextTokens += entry.run.tokens.length;
  }
  return { at, prefillTokens, decodeSequences, draftedTokens, contextTokens, sampleMs, ...times };
}

/** A step that only decodes gets drafts where they are expected to pay, and where the KV cache has room for them. */
export function withDrafts(
  planned: readonly Planned[],
  speculation: Speculation,
  cache: KvCache,
): readonly Planned[] {
  const sequences = planned.flatMap(({ sequence, entry }) =>
    sequence instanceof Sequence && decodes(entry) && sequence.pending === 1 ? [sequence] : [],
  );
  if (sequences.length < planned.length) return planned;
  const drafts = speculation.draft(sequences);
  const fits = drafts?.every((draft, index) => {
    const { run } = planned[index]!.entry;
    return cache.grow(run, run.tokens.length + 1 + draft.length);
  });
  if (!drafts || !fits) return planned;
  return planned.map(({ sequence, entry }, index) => {
    const draft = drafts[index]!;
    return { sequence, entry: { ...entry, tokens: [...entry.tokens, ...draft], outputs: 1 + draft.length } };
  });
}

/** Embeddings are made by the model as it is. */
export function adaptersOf(sequence: Work): AdapterSet | undefined {
  return sequence instanceof EmbeddingSequence ? undefined : sequence.adapters;
}
