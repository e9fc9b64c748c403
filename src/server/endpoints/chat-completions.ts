import type { WireLogprob } from "../../engine/process/messages.ts";
import { StowageError } from "../../errors.ts";
import { type Call, endpoint } from "../endpoint.ts";
import { EventStream } from "../event-stream.ts";
import {
  type ChunkFormat,
  choicesOf,
  collectChoices,
  type Input,
  keepAliveSeconds,
  reasonOf,
  streamChoices,
  type TokenOutput,
} from "../generation.ts";
import { type ChatLogprob, type ChatRequest, chatChunk, chatRequest, chatResponse } from "../schemas/chat.ts";
import { textOfBytes } from "../token-text.ts";

export const chatCompletions = endpoint({
  method: "POST",
  path: "/v1/chat/completions",
  summary: "Answers a chat",
  tag: "OpenAI",
  body: chatRequest,
  response: chatResponse,
  other: { contentType: "text/event-stream", schema: chatChunk },
  handle,
});

async function handle(call: Call<ChatRequest>): Promise<unknown> {
  const { context, body, id, reply, signal } = call;
  checkTogether(body);
  const keepAlive = keepAliveSeconds(body.keep_alive);
  const choices = choicesOf([inputOf(body)], body, {
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
  });
  const live = await context.gateway.open(
    {
      id,
      model: body.model,
      endpoint: "chat",
      stream: body.stream === true,
      sequences: choices.length,
      ...(keepAlive !== undefined && { keepAliveSeconds: keepAlive }),
    },
    signal,
  );
  try {
    const head = headOf(call, body.stream ? "chat.completion.chunk" : "chat.completion");
    if (body.stream) {
      const withUsage = body.stream_options?.include_usage === true;
      return await streamChoices(live, choices, new EventStream(reply, live), formatOf(head, withUsage));
    }
    const { results, usage } = await collectChoices(live, choices);
    return {
      ...head,
      choices: results.map(({ text, tokens, finish }, index) => ({
        index,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: body.logprobs ? { content: tokens.map(logprobOf), refusal: null } : null,
        finish_reason: reasonOf(finish),
      })),
      usage,
    };
  } finally {
    live.close();
  }
}

function checkTogether({ logprobs, top_logprobs, stream, stream_options }: ChatRequest): void {
  if (top_logprobs && !logprobs) {
    throw new StowageError("request_invalid", {
      field: "top_logprobs",
      reason: "it needs logprobs to be true",
    });
  }
  if (stream_options && !stream) {
    throw new StowageError("request_invalid", {
      field: "stream_options",
      reason: "it needs stream to be true",
    });
  }
}

/** Templates know the role `system`; `developer` is OpenAI's newer name of it. */
function inputOf({ messages }: ChatRequest): Input {
  const plain = messages.map(({ role, content }) => ({
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join(""),
  }));
  return { input: { messages: plain }, field: "messages" };
}

function headOf({ context, body, id }: Call<ChatRequest>, object: string) {
  return {
    id: `chatcmpl-${id}`,
    object,
    created: Math.floor(Date.now() / 1000),
    model: body.model,
    system_fingerprint: `stowage-${context.version}`,
  };
}

/** A chunk a token: what all of them share is put into words once. */
function formatOf(head: object, withUsage: boolean): ChunkFormat {
  const open = `${JSON.stringify(head).slice(0, -1)},"choices":[`;
  const close = withUsage ? `],"usage":null}` : "]}";
  const chunk = (choice: number, delta: string, logprobs: string, reason: string) =>
    `${open}{"index":${choice},"delta":${delta},"logprobs":${logprobs},"finish_reason":${reason}}${close}`;
  return {
    first: (choice) => chunk(choice, `{"role":"assistant","content":""}`, "null", "null"),
    token: (choice, token) => {
      const logprobs = token.top ? JSON.stringify({ content: [logprobOf(token)], refusal: null }) : "null";
      return chunk(choice, `{"content":${JSON.stringify(token.text)}}`, logprobs, "null");
    },
    last: (choice, text, reason) => {
      const delta = text === "" ? "{}" : `{"content":${JSON.stringify(text)}}`;
      return chunk(choice, delta, "null", `"${reason}"`);
    },
    ...(withUsage && { usage: (usage) => `${open}],"usage":${JSON.stringify(usage)}}` }),
  };
}

function logprobOf({ chosen, top }: TokenOutput): ChatLogprob {
  return { ...entryOf(chosen!), top_logprobs: top!.map(entryOf) };
}

function entryOf({ bytes, logprob }: WireLogprob) {
  return { token: textOfBytes(bytes), logprob, bytes };
}
