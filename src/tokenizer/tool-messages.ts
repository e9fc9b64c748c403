import { toolFormatOf } from "../grammar/tools/formats.ts";
import type { ChatMessage } from "./chat-template.ts";

/** Whether a chat template puts tools into words itself. */
export function knowsTools(template: string): boolean {
  return /\btools\b/.test(template);
}

/**
 * A chat with tools for a template that knows none: the tools are told in the system message, calls are the assistant's text,
 * and results are the user's.
 */
export function toldAsText(messages: readonly ChatMessage[], tools: readonly unknown[]): ChatMessage[] {
  const { before, middle, after, between } = toolFormatOf(undefined);
  const told = messages.map((message): ChatMessage => {
    const calls = (message.tool_calls ?? []).map(
      ({ function: called }) => `${before}${called.name}${middle}${JSON.stringify(called.arguments)}${after}`,
    );
    const content = [message.content, ...calls].filter((text) => text !== "").join(between);
    if (message.role !== "tool") return { role: message.role, content };
    return { role: "user", content: `<tool_response>\n${content}\n</tool_response>` };
  });
  if (tools.length === 0) return told;
  const instruction = [
    "You may call these functions:",
    ...tools.map((tool) => JSON.stringify(tool)),
    `To call one, answer with ${before}NAME${middle}ARGUMENTS${after} where ARGUMENTS is a JSON object.`,
  ].join("\n");
  const [first, ...rest] = told;
  if (first?.role !== "system") return [{ role: "system", content: instruction }, ...told];
  return [{ role: "system", content: `${first.content}\n\n${instruction}` }, ...rest];
}
