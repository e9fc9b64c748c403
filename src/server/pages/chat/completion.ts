/** The answer to a conversation, as it comes from `POST /v1/chat/completions`. */
import { ask, post } from "../shared/api.ts";
import { ApiError, type Failure, failureFrom } from "../shared/failure.ts";
import type { Usage } from "./conversation.ts";
import { readEvents } from "./sse.ts";

export type AnswerEvent =
  /** The request is being sent. */
  | { readonly type: "sent" }
  /** The server is not ready; it is asked again in some seconds. */
  | { readonly type: "waiting"; readonly failure: Failure; readonly seconds: number }
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "usage"; readonly usage: Usage }
  | { readonly type: "end"; readonly reason: "stop" | "length" };

/** Seconds until a server is asked again that does not say when. */
const usualWait = 2;
/** How often: with the wait that the server asks for, enough for the largest models to load. */
const attempts = 300;

/** @throws ApiError for every error that the server sends, also within a stream. */
export async function* streamAnswer(body: unknown, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
  for (let attempt = 1; ; attempt += 1) {
    yield { type: "sent" };
    try {
      const response = await ask("/v1/chat/completions", post(body, signal));
      yield* answerIn(response);
      return;
    } catch (error) {
      if (!(error instanceof ApiError) || !isNotReady(error.failure) || attempt === attempts) throw error;
      const seconds = Math.max(0.5, error.failure.retryAfter ?? usualWait);
      yield { type: "waiting", failure: error.failure, seconds };
      await pause(seconds * 1000, signal);
    }
  }
}

/** A model that loads answers 503 and says when to come back. */
function isNotReady({ status, retryAfter, code }: Failure): boolean {
  return status === 503 && (retryAfter !== undefined || /load/.test(code ?? ""));
}

async function* answerIn(response: Response): AsyncGenerator<AnswerEvent> {
  if (response.body === null) throw new ApiError({ message: "The answer has no body." });
  let isComplete = false;
  for await (const { data } of readEvents(response.body)) {
    if (data === "[DONE]") return;
    for (const event of eventsIn(data)) {
      isComplete ||= event.type === "end";
      yield event;
    }
  }
  if (!isComplete) throw new ApiError(cutOff);
}

const cutOff: Failure = {
  message: "The answer was cut off: the connection ended before it was complete.",
  next: "Try again. If it happens again, look at the server's log.",
};

interface Chunk {
  readonly choices?: readonly { delta?: { content?: string | null }; finish_reason?: string | null }[];
  readonly usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
  readonly error?: unknown;
}

function* eventsIn(data: string): Generator<AnswerEvent> {
  const chunk = parse(data);
  if (chunk.error !== undefined && chunk.error !== null) {
    throw new ApiError(failureFrom(chunk, "The answer ended with an error."));
  }
  const choice = chunk.choices?.[0];
  if (choice?.delta?.content) yield { type: "text", text: choice.delta.content };
  if (choice?.finish_reason)
    yield { type: "end", reason: choice.finish_reason === "length" ? "length" : "stop" };
  if (chunk.usage) yield { type: "usage", usage: usageOf(chunk.usage) };
}

function parse(data: string): Chunk {
  try {
    return JSON.parse(data) as Chunk;
  } catch {
    throw new ApiError({ message: `The server sent what is no JSON: ${data.slice(0, 100)}` });
  }
}

function usageOf(usage: NonNullable<Chunk["usage"]>): Usage {
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
    generatedTokens: usage.completion_tokens ?? 0,
  };
}

/** Waits, or throws as soon as `signal` is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
