/** What a conversation is, and what is done to it. Pure: it is kept by `history.ts` and shown by the views. */
import type { Failure } from "../shared/failure.ts";

/** What an answer is sampled with; what is left out is the server's default. */
export interface Settings {
  readonly system: string;
  readonly temperature?: number;
  readonly top_p?: number;
  readonly top_k?: number;
  readonly min_p?: number;
  readonly repeat_penalty?: number;
  readonly max_tokens?: number;
  readonly seed?: number;
}

export interface Usage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
}

/** How an answer came. Times in ms. */
export interface AnswerStats {
  readonly timeToFirstToken?: number;
  readonly tokensPerSecond?: number;
  readonly total: number;
  readonly usage?: Usage;
}

export interface UserMessage {
  readonly role: "user";
  readonly content: string;
}

export interface AnswerMessage {
  readonly role: "assistant";
  content: string;
  model: string;
  /** Why it ended: as the server said, or stopped by the reader, or failed. */
  end?: "stop" | "length" | "stopped" | "failed";
  stats?: AnswerStats;
  failure?: Failure;
}

export type Message = UserMessage | AnswerMessage;

export interface Conversation {
  readonly id: string;
  title: string;
  /** Unix ms. */
  readonly createdAt: number;
  updatedAt: number;
  model: string;
  settings: Settings;
  messages: Message[];
}

const titleLength = 60;

export function newConversation(id: string, now: number, model: string, settings: Settings): Conversation {
  return { id, title: "", createdAt: now, updatedAt: now, model, settings, messages: [] };
}

/** The beginning of the first message, cut between words. */
export function titleOf(text: string): string {
  const line = text.trim().replace(/\s+/g, " ");
  if (line.length <= titleLength) return line;
  const cut = line.slice(0, titleLength);
  const space = cut.lastIndexOf(" ");
  return `${cut.slice(0, space > titleLength / 2 ? space : titleLength).trimEnd()}…`;
}

/** Adds a question at `index` and drops what came after it: at the end, or in place of an earlier question. */
export function askAt(conversation: Conversation, index: number, content: string): void {
  conversation.messages.splice(index, Number.POSITIVE_INFINITY, { role: "user", content });
  if (conversation.title === "") conversation.title = titleOf(content);
}

/** Drops the answer to the last question; returns whether there is a question to answer. */
export function dropLastAnswer(conversation: Conversation): boolean {
  while (conversation.messages.at(-1)?.role === "assistant") conversation.messages.pop();
  return conversation.messages.length > 0;
}

/** Index of the last question; -1 if there is none. */
export function lastQuestion(conversation: Conversation): number {
  return conversation.messages.findLastIndex(({ role }) => role === "user");
}

/** The body of the request that continues a conversation. */
export function requestBody({ model, settings, messages }: Conversation) {
  const { system, ...sampling } = settings;
  const said = messages
    // An answer of which nothing came is not one that the model gave.
    .filter(({ content }) => content !== "")
    .map(({ role, content }) => ({ role, content }));
  return {
    model,
    messages: system.trim() === "" ? said : [{ role: "system" as const, content: system }, ...said],
    stream: true,
    stream_options: { include_usage: true },
    ...sampling,
  };
}
