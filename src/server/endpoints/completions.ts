import { StowageError } from "../../errors.ts";
import type { LiveRequest } from "../../gateway/live-request.ts";
import { about } from "../about-field.ts";
import { answer, headOf } from "../answer.ts";
import { type Call, endpoint } from "../endpoint.ts";
import { type ChunkFormat, choicesOf, type Input, reasonOf, type TokenOutput } from "../generation.ts";
import { inputsIn } from "../inputs.ts";
import {
  type CompletionLogprobs,
  type CompletionRequest,
  completionChunk,
  completionRequest,
  completionResponse,
} from "../schemas/completion.ts";
import { textOfBytes } from "../token-text.ts";

export const completions = endpoint({
  method: "POST",
  path: "/v1/completions",
  summary: "Goes on from a text",
  tag: "OpenAI",
  body: completionRequest,
  response: completionResponse,
  other: { contentType: "text/event-stream", schema: completionChunk },
  handle,
});

async function handle(call: Call<CompletionRequest>): Promise<unknown> {
  const { body } = call;
  checkTogether(body);
  const inputs = inputsOf(body.prompt);
  const choices = choicesOf(inputs, body, {
    maxTokens: body.max_tokens ?? undefined,
    logprobs: body.logprobs ?? undefined,
  });
  const head = headOf(call, "cmpl", "text_completion");
  return answer(call, "completions", choices, async (live) => {
    const echoes = body.echo ? await echoesOf(live, inputs) : inputs.map(() => "");
    const echoOf = (choice: number) => echoes[Math.floor((choice * inputs.length) / choices.length)]!;
    return {
      head,
      chunks: (withUsage) => formatOf(head, echoOf, withUsage),
      choice: ({ text, tokens, finish }, index) => ({
        index,
        text: echoOf(index) + text,
        logprobs: typeof body.logprobs === "number" ? logprobsOf(tokens, 0) : null,
        finish_reason: reasonOf(finish),
      }),
    };
  });
}

function checkTogether({ echo, logprobs, prompt, n }: CompletionRequest): void {
  if (echo && typeof logprobs === "number") {
    throw new StowageError("request_invalid", {
      field: "echo",
      reason: "it does not go together with logprobs",
    });
  }
  const prompts = inputsOf(prompt).length;
  if (prompts * (n ?? 1) > 128) {
    throw new StowageError("request_invalid", {
      field: "n",
      reason: `${prompts} prompts of ${n} choices are more than 128`,
    });
  }
}

function inputsOf(prompt: CompletionRequest["prompt"]): Input[] {
  return inputsIn("prompt", prompt);
}

/** Prompts as text. */
async function echoesOf(live: LiveRequest, inputs: readonly Input[]): Promise<string[]> {
  return Promise.all(
    inputs.map(async ({ input, field }) => {
      if ("text" in input) return input.text;
      return "tokens" in input ? about(field, live.detokenize(input.tokens)) : "";
    }),
  );
}

function formatOf(head: object, echoOf: (choice: number) => string, withUsage: boolean): ChunkFormat {
  const open = `${JSON.stringify(head).slice(0, -1)},"choices":[`;
  const close = withUsage ? `],"usage":null}` : "]}";
  const lengths: number[] = [];
  const chunk = (choice: number, text: string, logprobs: string, reason: string) => {
    lengths[choice] = (lengths[choice] ?? 0) + text.length;
    return `${open}{"index":${choice},"text":${JSON.stringify(text)},"logprobs":${logprobs},"finish_reason":${reason}}${close}`;
  };
  return {
    first: (choice) => chunk(choice, echoOf(choice), "null", "null"),
    token: (choice, token) => {
      const logprobs = token.top ? JSON.stringify(logprobsOf([token], lengths[choice] ?? 0)) : "null";
      return chunk(choice, token.text, logprobs, "null");
    },
    last: (choice, text, reason) => chunk(choice, text, "null", `"${reason}"`),
    ...(withUsage && { usage: (usage) => `${open}],"usage":${JSON.stringify(usage)}}` }),
  };
}

function logprobsOf(tokens: readonly TokenOutput[], offset: number): CompletionLogprobs {
  let at = offset;
  return {
    tokens: tokens.map(({ chosen }) => textOfBytes(chosen!.bytes)),
    token_logprobs: tokens.map(({ chosen }) => chosen!.logprob),
    // The token itself is always told of, whether or not it is one of the most likely.
    top_logprobs: tokens.map(({ top, chosen }) =>
      Object.fromEntries([...top!, chosen!].map(({ bytes, logprob }) => [textOfBytes(bytes), logprob])),
    ),
    text_offset: tokens.map(({ text }) => {
      at += text.length;
      return at - text.length;
    }),
  };
}
