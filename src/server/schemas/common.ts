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

const breakerText = z
  .string()
  .min(1)
  .max(40)
  .refine((text) => text.isWellFormed(), "it has a lone surrogate");

/** Times what the adapter counts by itself. */
const adapterScale = z.number().min(-100).max(100).optional();
export const jsonSchema = z.record(z.string(), z.unknown());

/** What requests for text share: OpenAI's fields, and llama.cpp's and vLLM's for what OpenAI has not. */
export const generationFields = {
  /** One of `/v1/models`; behind a colon with a LoRA adapter, as in `sample:poet`. */
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
  /** Keep the tokens of the most usual surprise that together have more than this probability. */
  typical_p: z.number().min(0).max(1).nullish(),
  /** Keep logits within this many standard deviations of the greatest; 0 or less is off. */
  top_n_sigma: z.number().min(-1).max(100).nullish(),
  /** How often all but the least likely of the tokens above `xtc_threshold` are excluded. */
  xtc_probability: z.number().min(0).max(1).nullish(),
  xtc_threshold: z.number().min(0).max(1).nullish(),
  /** Scales the penalty on going on with a repetition; 0 is off. */
  dry_multiplier: z.number().min(0).max(100).nullish(),
  dry_base: z.number().min(1).max(100).nullish(),
  /** Repetitions shorter than this cost nothing. */
  dry_allowed_length: z.int().min(0).max(131_072).nullish(),
  /** -1 looks at all tokens. */
  dry_penalty_last_n: z.int().min(-1).max(131_072).nullish(),
  dry_sequence_breakers: z.array(breakerText).max(16).nullish(),
  /** 1 or 2, in the place of the other truncating samplers; 0 is off. */
  mirostat: z.int().min(0).max(2).nullish(),
  mirostat_tau: z.number().min(0).max(100).nullish(),
  mirostat_eta: z.number().min(0).max(1).nullish(),
  /** Added to the logits of these tokens, by token id. */
  logit_bias: z
    .record(z.string().regex(/^(0|[1-9]\d{0,8})$/, "it has to be a token id"), z.number().min(-100).max(100))
    .refine((bias) => Object.keys(bias).length <= 1024, "it may have at most 1024 tokens")
    .nullish(),
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
  /** The model's LoRA adapters to compute with, by name, or by number as they were given; none by default. */
  lora: z
    .array(
      z.union([
        z.object({ name: z.string().max(200), scale: adapterScale }),
        z.object({ id: z.int().min(0).max(1_000_000), scale: adapterScale }),
      ]),
    )
    .max(16)
    .nullish(),
  user: z.string().max(512).nullish(),
  /** What the text has to be, in GBNF, llama.cpp's notation. */
  grammar: z.string().min(1).max(1_048_576).nullish(),
  /** A JSON schema that the text has to be valid by. */
  json_schema: jsonSchema.nullish(),
};
