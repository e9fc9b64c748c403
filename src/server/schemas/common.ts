import { z } from "zod";

export const count = z.int().min(0);

/** An error as OpenAI's API has it; `next` is ours: the next thing to try. */
export const errorSchema = z.object({
  error: z.object({
    message: z.string(),
    type: z.enum([
      "invalid_request_error",
      "authentication_error",
      "permission_error",
      "not_found_error",
      "rate_limit_error",
      "server_error",
    ]),
    /** The field of the request that is at fault. */
    param: z.string().nullable(),
    code: z.string(),
    next: z.string(),
  }),
});

export type ErrorBody = z.infer<typeof errorSchema>;

export const usageSchema = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.object({
    /** Of the prompt's tokens, those whose keys and values were there already. */
    cached_tokens: count,
  }),
});

export type Usage = z.infer<typeof usageSchema>;

/** What every answer to a generation, and each of its chunks, begins with, beside its kind. */
export const answerFields = {
  id: z.string(),
  created: count,
  model: z.string(),
  system_fingerprint: z.string(),
};

export const finishReason = z.enum(["stop", "length"]);

/** Fields whose meaning is lost where they are ignored: they may be there, but not ask for anything. */
export const unsupported = {
  list: (what: string) => z.array(z.unknown()).max(0, `not supported yet: ${what}`).nullish(),
  object: (what: string) => z.strictObject({}, `not supported yet: ${what}`).nullish(),
  value: (what: string) => z.null(`not supported yet: ${what}`).optional(),
  flag: (what: string) => z.literal(false, `not supported yet: ${what}`).nullish(),
};

const maxStops = 16;
const maxStopLength = 256;
const stopText = z
  .string()
  .min(1)
  .max(maxStopLength)
  .refine((text) => text.isWellFormed(), "it has a lone surrogate");

/** What requests for text share: OpenAI's fields, and llama.cpp's and vLLM's for what OpenAI has not. */
export const generationFields = {
  /** One of `/v1/models`. */
  model: z.string().max(512),
  stream: z.boolean().nullish(),
  stream_options: z
    .object({
      /** A last chunk without choices tells the usage. */
      include_usage: z.boolean().nullish(),
      include_obfuscation: z.boolean().nullish(),
    })
    .nullish(),
  /** Divides the logits; 0 always takes the most likely token. */
  temperature: z.number().min(0).max(10).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).max(1_000_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  repeat_penalty: z.number().min(0.01).max(100).nullish(),
  /** Makes the draws repeatable. Of several choices, each has the seed after the one before. */
  seed: z.int().nullish(),
  /** Where the text ends before one of these. */
  stop: z.union([stopText, z.array(stopText).max(maxStops)]).nullish(),
  /** Choices to generate. */
  n: z.int().min(1).max(16).nullish(),
  max_tokens: z.int().min(1).nullish(),
  /** Go on past the model's end: for measuring. */
  ignore_eos: z.boolean().nullish(),
  /** How long the model stays loaded after this request: seconds, a duration such as "10m", or -1 for as long as there is room. */
  keep_alive: z
    .union([
      z.number().min(-1).max(1e9),
      z
        .string()
        .max(32)
        .regex(
          /^(-1|\d+(\.\d+)?(ms|s|m|h)?)$/,
          'it has to be a duration such as "90s", "10m" or "1.5h", or seconds, or -1',
        ),
    ])
    .nullish(),
  user: z.string().max(512).nullish(),
  logit_bias: unsupported.object("logit_bias"),
};
