import { z } from "zod";
import { count, generationFields } from "./common.ts";

/** As many as OpenAI's API takes. */
const maxInputs = 2048;
const text = z.string().min(1);
const tokens = z.array(z.int().min(0)).min(1).max(1_048_576);

export const embeddingsRequest = z.object({
  model: generationFields.model,
  /** Text, its tokens, or several of either. */
  input: z.union([text, tokens, z.array(text).min(1).max(maxInputs), z.array(tokens).min(1).max(maxInputs)]),
  /** Numbers, or their F32 bytes, little endian, in base64. */
  encoding_format: z.enum(["float", "base64"]).nullish(),
  /** Elements to keep of each vector; it is then made of length 1 again. */
  dimensions: z.int().min(1).nullish(),
  keep_alive: generationFields.keep_alive,
  user: generationFields.user,
});

export type EmbeddingsRequest = z.infer<typeof embeddingsRequest>;

export const embeddingsResponse = z.object({
  object: z.literal("list"),
  data: z.array(
    z.object({
      object: z.literal("embedding"),
      index: count,
      embedding: z.union([z.array(z.number()), z.string()]),
    }),
  ),
  model: z.string(),
  usage: z.object({
    prompt_tokens: count,
    total_tokens: count,
    prompt_tokens_details: z.object({ cached_tokens: count }),
  }),
});
