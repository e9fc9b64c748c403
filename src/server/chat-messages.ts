import type { ChatMessage } from "../tokenizer/chat-template.ts";
import type { ChatRequest } from "./schemas/chat.ts";

type Message = ChatRequest["messages"][number];

/**
 * Messages as templates take them: they know the role `system`, of which `developer` is OpenAI's newer name, no parts, and
 * arguments of calls that are no text.
 */
export function plainMessages(messages: ChatRequest["messages"]): ChatMessage[] {
  const names = callers(messages);
  return messages.map((message) => {
    const { role } = message;
    const content = textOf(message.content);
    if (role === "tool") {
      const name = names.get(message.tool_call_id);
      return { role, content, tool_call_id: message.tool_call_id, ...(name !== undefined && { name }) };
    }
    if (role !== "assistant") return { role: role === "developer" ? "system" : role, content };
    const calls = message.tool_calls ?? [];
    if (calls.length === 0) return { role, content };
    return {
      role,
      content,
      tool_calls: calls.map(({ id, function: { name, arguments: text } }) => ({
        id,
        type: "function",
        function: { name, arguments: argumentsOf(text) },
      })),
    };
  });
}

function textOf(content: Message["content"] | undefined): string {
  if (typeof content === "string") return content;
  return (content ?? []).map(({ text }) => text).join("");
}

/** Whose calls they are, by their ids. */
function callers(messages: ChatRequest["messages"]): Map<string, string> {
  return new Map(
    messages.flatMap((message) =>
      message.role === "assistant"
        ? (message.tool_calls ?? []).map(({ id, function: { name } }) => [id, name] as const)
        : [],
    ),
  );
}

/** What a model wrote as arguments; text that is no JSON stays text. */
function argumentsOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
