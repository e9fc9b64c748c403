import { readFile } from "node:fs/promises";
import { z } from "zod";
import { StowageError } from "../errors.ts";

const text = z.string().trim().min(1);
/** The forms of public collections: MT-bench, GSM8K, ShareGPT, chats in OpenAI's form, and plain ones. */
const forms = z.union([
  z.object({ prompt: text }).transform(({ prompt }) => prompt),
  z.object({ turns: z.tuple([text], z.string()) }).transform(({ turns: [first] }) => first),
  z.object({ question: text }).transform(({ question }) => question),
  z.object({ text }).transform(({ text }) => text),
  z
    .object({ messages: z.tuple([z.object({ content: text })], z.unknown()) })
    .transform(({ messages: [first] }) => first.content),
  z
    .object({ conversations: z.tuple([z.object({ value: text })], z.unknown()) })
    .transform(({ conversations: [first] }) => first.value),
]);

/**
 * Reads the prompts of a file: JSON lines with `prompt`, `turns`, `question`, `text`, `messages` or `conversations`, of
 * which the first turn counts; or plain text, where an empty line ends a prompt.
 * @throws StowageError prompt_file
 */
export async function readPrompts(path: string): Promise<string[]> {
  let content: string;
  try {
    content = await readFile(path, "utf8");
  } catch (cause) {
    throw new StowageError("prompt_file", { path, reason: (cause as Error).message }, { cause });
  }
  const prompts = content.trimStart().startsWith("{") ? fromLines(path, content) : paragraphs(content);
  if (prompts.length === 0) throw new StowageError("prompt_file", { path, reason: "it holds no prompt" });
  return prompts;
}

function fromLines(path: string, content: string): string[] {
  return content.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return [forms.parse(JSON.parse(line))];
    } catch (cause) {
      const why =
        cause instanceof z.ZodError ? "has no prompt, turns, question, text or messages" : "is no JSON";
      throw new StowageError("prompt_file", { path, reason: `line ${index + 1} ${why}` }, { cause });
    }
  });
}

function paragraphs(content: string): string[] {
  return content
    .split(/\r?\n\s*\r?\n/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
