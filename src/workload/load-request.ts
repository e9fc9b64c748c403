import type { Agent as HttpAgent } from "node:http";
import type { Agent as HttpsAgent } from "node:https";
import type { LoadRecord } from "./load-record.ts";
import type { Prompt } from "./prompts.ts";
import { openStream } from "./stream-client.ts";
import type { StreamFault } from "./stream-fault.ts";

/** Which endpoint requests go to. */
export type Endpoint = "completions" | "chat";

/** The server that is measured. */
export interface LoadTarget {
  /** Where its paths begin, such as http://127.0.0.1:8321/. */
  readonly base: URL;
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: HttpAgent | HttpsAgent;
  /** The longest wait for the next event of a stream, ms. */
  readonly idleMs: number;
}

export interface LoadRequest {
  readonly prompt: Prompt;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** Sends a request that was made ready; `dueAt` is when it was to be sent, by default now. */
export type Send = (signal: AbortSignal, dueAt?: number) => Promise<LoadRecord>;

/**
 * Makes a request ready, so that its prompt costs no time when it is due. Lengths hold on servers that know `ignore_eos`;
 * others may end earlier.
 *
 * @param origin - What the times of the record count from, by `performance.now`.
 */
export function prepareRequest(target: LoadTarget, request: LoadRequest, origin: number): Send {
  const { base, endpoint, headers, agent, idleMs } = target;
  const url = new URL(endpoint === "chat" ? "v1/chat/completions" : "v1/completions", base);
  const body = JSON.stringify(bodyOf(target, request));
  return async (signal, dueAt) => {
    const answer = new Answer();
    const onEvent = (data: string, at: number) => answer.add(data, at - origin);
    const end = await openStream({ url, body, headers, agent, signal, idleMs, onEvent });
    const sentAt = end.sentAt - origin;
    return {
      dueAt: dueAt ?? sentAt,
      sentAt,
      endedAt: end.endedAt - origin,
      chunkTimes: answer.chunkTimes,
      inputTokens: answer.usage?.prompt_tokens ?? request.inputTokens,
      outputTokens: answer.usage?.completion_tokens ?? answer.chunkTimes.length,
      cachedTokens: answer.usage?.prompt_tokens_details?.cached_tokens ?? 0,
      fault: end.fault ?? answer.fault(),
    };
  };
}

function bodyOf({ endpoint, model }: LoadTarget, { prompt, outputTokens }: LoadRequest): object {
  const input = endpoint === "chat" ? { messages: [{ role: "user", content: prompt }] } : { prompt };
  return {
    model,
    ...input,
    max_tokens: outputTokens,
    ignore_eos: true,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** The members of a chunk that are read; servers send more, and may leave any out. */
interface Chunk {
  readonly choices?: readonly {
    readonly text?: string | null;
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning?: string | null;
      readonly reasoning_content?: string | null;
    } | null;
  }[];
  readonly usage?: Usage | null;
}

interface Usage {
  readonly prompt_tokens?: number;
  readonly completion_tokens?: number;
  readonly prompt_tokens_details?: { readonly cached_tokens?: number | null } | null;
}

/** What the chunks of one answer amount to. */
class Answer {
  readonly chunkTimes: number[] = [];
  usage: Usage | undefined;
  #isReadable = true;

  add(data: string, at: number): void {
    let chunk: Chunk | null;
    try {
      chunk = JSON.parse(data);
    } catch {
      this.#isReadable = false;
      return;
    }
    this.usage = chunk?.usage ?? this.usage;
    const choice = chunk?.choices?.[0];
    const delta = choice?.delta;
    if (choice?.text || delta?.content || delta?.reasoning || delta?.reasoning_content)
      this.chunkTimes.push(at);
  }

  /** What is wrong with a stream that came to its end. */
  fault(): StreamFault | undefined {
    if (!this.#isReadable) return { kind: "broken", code: "no JSON", message: "an event is no JSON" };
    const isEmpty = this.chunkTimes.length === 0 && !this.usage?.completion_tokens;
    return isEmpty ? { kind: "broken", code: "empty", message: "the answer has no tokens" } : undefined;
  }
}
