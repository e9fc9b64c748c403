import { z } from "zod";
import {
  answerFields,
  count,
  finishReason,
  generationFields,
  jsonSchema,
  unsupported,
  usageSchema,
} from "./common.ts";

const textPart = z.object({ type: z.literal("text"), text: z.string() });
const content = z.union([z.string(), z.array(textPart).min(1).max(1024)]);

const message = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer", "user"]), content, name: z.string().max(64).nullish() }),
  z.object({
    role: z.literal("assistant"),
    content,
    name: z.string().max(64).nullish(),
    tool_calls: unsupported.list("calls of tools"),
    function_call: unsupported.value("calls of functions"),
  }),
]);

export const chatRequest = z.object({
  ...generationFields,
  messages: z.array(message).min(1).max(4096),
  /** The same as `max_tokens`; of both, this holds. */
  max_completion_tokens: z.int().min(1).nullish(),
  /** Report the log-probability of each token. */
  logprobs: z.boolean().nullish(),
  /** And of so many most likely ones at its place; needs `logprobs`. */
  top_logprobs: z.int().min(0).max(20).nullish(),
  tools: unsupported.list("tools"),
  functions: unsupported.list("functions"),
  tool_choice: z.enum(["none", "auto"], "not supported yet: tools").nullish(),
  /** What the answer has to be. `strict` makes no difference: a schema is always kept to. */
  response_format: z
    .discriminatedUnion("type", [
      z.object({ type: z.literal("text") }),
      z.object({ type: z.literal("json_object") }),
      z.object({
        type: z.literal("json_schema"),
        json_schema: z.object({
          name: z.string().max(64).nullish(),
          description: z.string().nullish(),
          schema: jsonSchema,
          strict: z.boolean().nullish(),
        }),
      }),
    ])
    .nullish(),
  modalities: z.array(z.literal("text", "not supported: only text")).nullish(),
  audio: unsupported.value("audio"),
});

export type ChatRequest = z.infer<typeof chatRequest>;

const tokenLogprob = z.object({
  token: z.string(),
  /** null where it is minus infinity. */
  logprob: z.number().nullable(),
  bytes: z.array(z.int().min(0).max(255)),
});

export const chatLogprob = tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob) });
export type ChatLogprob = z.infer<typeof chatLogprob>;

const logprobs = z.object({ content: z.array(chatLogprob), refusal: z.null() }).nullable();

export const chatResponse = z.object({
  ...answerFields,
  object: z.literal("chat.completion"),
  choices: z.array(
    z.object({
      index: count,
      message: z.object({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
      logprobs,
      finish_reason: finishReason,
    }),
  ),
  usage: usageSchema,
});

export const chatChunk = z.object({
  ...answerFields,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(
    z.object({
      index: count,
      delta: z.object({ role: z.literal("assistant").optional(), content: z.string().optional() }),
      logprobs,
      finish_reason: finishReason.nullable(),
    }),
  ),
  /** null in all chunks but the last, where it was asked for. */
  usage: usageSchema.nullable().optional(),
});
