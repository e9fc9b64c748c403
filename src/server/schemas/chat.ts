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

const functionName = z
  .string()
  .regex(/^[a-zA-Z0-9_-]{1,64}$/, "it has to be a name of 1 to 64 letters, digits, _ and -");

/** A call that a model made: its arguments are JSON, as text. */
const callMade = z.object({
  id: z.string().max(256),
  type: z.literal("function"),
  function: z.object({ name: z.string().min(1).max(256), arguments: z.string() }),
});

const message = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer", "user"]), content, name: z.string().max(64).nullish() }),
  z.object({
    role: z.literal("assistant"),
    /** May be left out where there are calls. */
    content: content.nullish(),
    name: z.string().max(64).nullish(),
    tool_calls: z.array(callMade).max(128).nullish(),
    function_call: unsupported.value("calls of functions"),
  }),
  /** What a tool answered. */
  z.object({ role: z.literal("tool"), content, tool_call_id: z.string().max(256) }),
]);

const tool = z.object({
  type: z.literal("function"),
  function: z.object({
    name: functionName,
    description: z.string().nullish(),
    /** A JSON schema of an object; calls are always held to it, `strict` or not. */
    parameters: jsonSchema.nullish(),
    strict: z.boolean().nullish(),
  }),
});

export const chatRequest = z.object({
  ...generationFields,
  messages: z.array(message).min(1).max(4096),
  /** The same as `max_tokens`; of both, this holds. */
  max_completion_tokens: z.int().min(1).nullish(),
  /** Report the log-probability of each token. */
  logprobs: z.boolean().nullish(),
  /** And of so many most likely ones at its place; needs `logprobs`. */
  top_logprobs: z.int().min(0).max(20).nullish(),
  tools: z.array(tool).max(128).nullish(),
  functions: unsupported.list("functions"),
  /** `none` calls none, `required` one or several; or the one to call. */
  tool_choice: z
    .union([
      z.enum(["none", "auto", "required"]),
      z.object({ type: z.literal("function"), function: z.object({ name: functionName }) }),
    ])
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
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

const chatFinishReason = z.enum([...finishReason.options, "tool_calls"]);

/** The first of a call has its id and name; the arguments of all of them, joined, are the call's. */
const callDelta = z.object({
  index: count,
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string() }),
});

export const chatResponse = z.object({
  ...answerFields,
  object: z.literal("chat.completion"),
  choices: z.array(
    z.object({
      index: count,
      message: z.object({
        role: z.literal("assistant"),
        /** null where there are calls alone. */
        content: z.string().nullable(),
        refusal: z.null(),
        tool_calls: z.array(callMade).optional(),
      }),
      logprobs,
      finish_reason: chatFinishReason,
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
      delta: z.object({
        role: z.literal("assistant").optional(),
        content: z.string().optional(),
        tool_calls: z.array(callDelta).optional(),
      }),
      logprobs,
      finish_reason: chatFinishReason.nullable(),
    }),
  ),
  /** null in all chunks but the last, where it was asked for. */
  usage: usageSchema.nullable().optional(),
});
