import { z } from "zod";
import { StowageError } from "../../errors.ts";
import type { EngineProcess } from "../../gateway/engine-process.ts";
import { about } from "../about-field.ts";
import { plainMessages } from "../chat-messages.ts";
import { type Call, endpoint } from "../endpoint.ts";
import type { Input } from "../generation.ts";
import { chatRequest } from "../schemas/chat.ts";
import { count } from "../schemas/common.ts";

const name = z.string().max(512);

/** Either `prompt` or `messages`. */
const tokenizeRequest = z.object({
  model: name,
  prompt: z.string().optional(),
  /** Of a prompt: with the tokens that open every text of this model. */
  add_special_tokens: z.boolean().nullish(),
  messages: chatRequest.shape.messages.optional(),
});

const tokenizeResponse = z.object({ count, max_model_len: count, tokens: z.array(count) });
const detokenizeRequest = z.object({ model: name, tokens: z.array(z.int().min(0)).max(1_048_576) });
const detokenizeResponse = z.object({ prompt: z.string() });

export const tokenize = endpoint({
  method: "POST",
  path: "/tokenize",
  summary: "Text or a chat to tokens",
  tag: "Tokens",
  body: tokenizeRequest,
  response: tokenizeResponse,
  handle: (call) => {
    const { input, field } = inputOf(call.body);
    return withEngine(call, async (engine, contextTokens) => {
      const tokens = await about(field, engine.tokenize(input, call.body.add_special_tokens ?? true));
      return { count: tokens.length, max_model_len: contextTokens, tokens };
    });
  },
});

export const detokenize = endpoint({
  method: "POST",
  path: "/detokenize",
  summary: "Tokens to text",
  tag: "Tokens",
  body: detokenizeRequest,
  response: detokenizeResponse,
  handle: (call) =>
    withEngine(call, async (engine) => ({
      prompt: await about("tokens", engine.detokenize(call.body.tokens)),
    })),
});

function inputOf({ prompt, messages }: z.infer<typeof tokenizeRequest>): Input {
  if (prompt !== undefined && messages !== undefined) {
    throw new StowageError("request_invalid", {
      field: "messages",
      reason: "it does not go together with prompt",
    });
  }
  if (prompt !== undefined) return { input: { text: prompt }, field: "prompt" };
  if (messages !== undefined) return { input: { messages: plainMessages(messages) }, field: "messages" };
  throw new StowageError("request_invalid", {
    field: "prompt",
    reason: "it is missing; give either prompt or messages",
  });
}

/** Holds the model for as long as the work takes; it is loaded first if need be. */
async function withEngine<T>(
  { context, body }: Call<{ model: string }>,
  work: (engine: EngineProcess, contextTokens: number) => Promise<T>,
): Promise<T> {
  const model = context.gateway.model(context.gateway.resolve(body.model).model);
  const engine = await model.acquire();
  try {
    return await work(engine, model.info?.contextTokens ?? 0);
  } finally {
    model.release();
  }
}
