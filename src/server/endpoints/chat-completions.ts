import type { WireForm, WireLogprob } from "../../engine/process/messages.ts";
import { StowageError } from "../../errors.ts";
import type { CallReader } from "../../grammar/tools/call-reader.ts";
import { answer, headOf } from "../answer.ts";
import { plainMessages } from "../chat-messages.ts";
import { type Call, endpoint } from "../endpoint.ts";
import { type ChunkFormat, choicesOf, reasonOf, type TokenOutput } from "../generation.ts";
import { type ChatLogprob, type ChatRequest, chatChunk, chatRequest, chatResponse } from "../schemas/chat.ts";
import { textOfBytes } from "../token-text.ts";
import { callsIn, deltaOf, readerOf, toolDemandOf } from "../tools.ts";

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
  const { body } = call;
  if (body.top_logprobs && !body.logprobs) {
    throw new StowageError("request_invalid", {
      field: "top_logprobs",
      reason: "it needs logprobs to be true",
    });
  }
  const demand = toolDemandOf(body);
  const format = formOf(body.response_format);
  if (demand && format) {
    throw new StowageError("request_invalid", {
      field: "response_format",
      reason: "it does not go together with tools",
    });
  }
  const tools = demand ? { tools: demand.tools } : {};
  const input = { input: { messages: plainMessages(body.messages), ...tools }, field: "messages" };
  const choices = choicesOf([input], body, {
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    form: demand?.form ?? format,
  });
  const head = headOf(call, "chatcmpl", body.stream ? "chat.completion.chunk" : "chat.completion");
  return answer(call, "chat", choices, async () => ({
    head,
    chunks: (withUsage) => formatOf(head, withUsage),
    choice: ({ text, tokens, finish, toolFormat }, index) => {
      const { content, calls } = callsIn(text, toolFormat);
      return {
        index,
        message: {
          role: "assistant",
          content: calls.length > 0 && content === "" ? null : content,
          refusal: null,
          ...(calls.length > 0 && { tool_calls: calls }),
        },
        logprobs: body.logprobs ? { content: tokens.map(logprobOf), refusal: null } : null,
        finish_reason: calls.length > 0 && reasonOf(finish) === "stop" ? "tool_calls" : reasonOf(finish),
      };
    },
  }));
}

function formOf(format: ChatRequest["response_format"]): WireForm | undefined {
  const field = "response_format";
  switch (format?.type) {
    case "json_object":
      return { field, object: true };
    case "json_schema":
      return { field, schema: JSON.stringify(format.json_schema.schema) };
    default:
      return undefined;
  }
}

/** A chunk a token: what all of them share is put into words once. */
function formatOf(head: object, withUsage: boolean): ChunkFormat {
  const open = `${JSON.stringify(head).slice(0, -1)},"choices":[`;
  const close = withUsage ? `],"usage":null}` : "]}";
  const chunk = (choice: number, delta: string, logprobs: string, reason: string) =>
    `${open}{"index":${choice},"delta":${delta},"logprobs":${logprobs},"finish_reason":${reason}}${close}`;
  const readers: (CallReader | undefined)[] = [];
  return {
    first: (choice, toolFormat) => {
      readers[choice] = readerOf(toolFormat);
      return chunk(choice, `{"role":"assistant","content":""}`, "null", "null");
    },
    token: (choice, token) => {
      const logprobs = token.top ? JSON.stringify({ content: [logprobOf(token)], refusal: null }) : "null";
      const pieces = readers[choice]?.push(token.text);
      if (pieces) {
        // What is asked of a token is said once, though it brings no text, or a call and its beginning.
        const deltas = pieces.length === 0 && token.top ? ["{}"] : pieces.map(deltaOf);
        return deltas.map((delta, at) => chunk(choice, delta, at === 0 ? logprobs : "null", "null"));
      }
      return chunk(choice, `{"content":${JSON.stringify(token.text)}}`, logprobs, "null");
    },
    last: (choice, text, reason) => {
      const reader = readers[choice];
      if (reader) {
        const deltas = [...reader.push(text), ...reader.flush()].map(deltaOf);
        const why = reader.calls > 0 && reason === "stop" ? "tool_calls" : reason;
        return [
          ...deltas.map((delta) => chunk(choice, delta, "null", "null")),
          chunk(choice, "{}", "null", `"${why}"`),
        ];
      }
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
