import { z } from "zod";
import { answerFields, count, finishReason, generationFields, unsupported, usageSchema } from "./common.ts";

const tokens = z.array(z.int().min(0)).min(1).max(1_048_576);

export const completionRequest = z.object({
  ...generationFields,
  /** Text, its tokens, or several of either. */
  prompt: z.union([z.string(), tokens, z.array(z.string()).min(1).max(128), z.array(tokens).min(1).max(128)]),
  /** Report the log-probability of each token and of so many most likely ones. */
  logprobs: z.int().min(0).max(20).nullish(),
  /** Begin the text with the prompt; not together with `logprobs`. */
  echo: z.boolean().nullish(),
  best_of: z.literal(1, "not supported: take n").nullish(),
  suffix: unsupported.value("suffix"),
});

export type CompletionRequest = z.infer<typeof completionRequest>;

const logprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number().nullable())),
    /** Where each token begins in the text, UTF-16 units. */
    text_offset: z.array(count),
  })
  .nullable();

export type CompletionLogprobs = NonNullable<z.infer<typeof logprobs>>;

const fields = { ...answerFields, object: z.literal("text_completion") };

export const completionResponse = z.object({
  ...fields,
  choices: z.array(z.object({ index: count, text: z.string(), logprobs, finish_reason: finishReason })),
  usage: usageSchema,
});

export const completionChunk = z.object({
  ...fields,
  choices: z.array(
    z.object({ index: count, text: z.string(), logprobs, finish_reason: finishReason.nullable() }),
  ),
  usage: usageSchema.nullable().optional(),
});
