import type { ChatMessage } from "../tokenizer/chat-template.ts";
import type { ChatRequest } from "./schemas/chat.ts";

/** Messages as templates take them: they know the role `system`, of which `developer` is OpenAI's newer name, and no parts. */
export function plainMessages(messages: ChatRequest["messages"]): ChatMessage[] {
  return messages.map(({ role, content }) => ({
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join(""),
  }));
}
