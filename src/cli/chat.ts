import type { GenerateOptions, Model } from "../engine/model.ts";
import { StowageError } from "../errors.ts";
import type { ChatMessage } from "../tokenizer/chat-template.ts";
import { type AnswerStyle, answer } from "./answer.ts";
import { formatError } from "./failure.ts";
import type { Interrupts } from "./interrupts.ts";
import { LineReader } from "./line-reader.ts";

/** How a conversation is held. */
export interface ChatSettings {
  /** Limits and sampling of every answer. */
  readonly generation: GenerateOptions;
  readonly style: AnswerStyle;
  /** Instruction that every conversation opens with. */
  readonly system: string | undefined;
  /** Each line is a prompt of its own, without the chat template and without memory. */
  readonly raw: boolean;
}

const help = `/clear  forget the conversation
/help   show this
/bye    end; so does Ctrl-D, and Ctrl-C when no answer is running
Ctrl-C stops an answer.
`;

/** The context's share that is kept free for the answer. */
const answerShare = 1 / 4;

/** A conversation at the terminal, until the person ends it. */
export async function chat(model: Model, settings: ChatSettings, interrupts: Interrupts): Promise<void> {
  const reader = new LineReader();
  const opening = settings.system === undefined ? [] : [{ role: "system", content: settings.system }];
  let messages: ChatMessage[] = opening;
  interrupts.set(() => reader.close());
  for (;;) {
    const line = await reader.ask();
    // What comes after, of the shell, starts on a line of its own.
    if (line === undefined) process.stdout.write("\n");
    const said = line?.trim() ?? "/bye";
    if (said === "/bye") break;
    else if (said === "/help") process.stdout.write(help);
    else if (said === "/clear") messages = opening;
    else if (/^\/\w+$/.test(said)) process.stdout.write(`${said} is no command.\n${help}`);
    else if (said !== "") {
      const abort = new AbortController();
      interrupts.set(() => abort.abort());
      messages = await exchange(model, settings, messages, said, abort.signal);
      interrupts.set(() => reader.close());
    }
  }
  reader.close();
}

/** One question and its answer. @returns the conversation with both; as it was when there was no answer */
async function exchange(
  model: Model,
  { generation, style, raw }: ChatSettings,
  messages: ChatMessage[],
  line: string,
  signal: AbortSignal,
): Promise<ChatMessage[]> {
  try {
    if (raw) {
      await answer(model, { ...generation, prompt: line, signal }, style);
      return messages;
    }
    const asked = await fitting(model, [...messages, { role: "user", content: line }]);
    const { text } = await answer(model, { ...generation, messages: asked, signal }, style);
    return [...asked, { role: "assistant", content: text }];
  } catch (error) {
    if (!(error instanceof StowageError)) throw error;
    process.stderr.write(formatError(error));
    return messages;
  }
}

/** The conversation without its oldest turns, as far as the context needs it. */
async function fitting(model: Model, messages: ChatMessage[]): Promise<ChatMessage[]> {
  const limit = model.info.contextTokens * (1 - answerShare);
  const opening = messages.filter(({ role }) => role === "system");
  let turns = messages.filter(({ role }) => role !== "system");
  while (turns.length > 1 && (await model.tokenizeChat([...opening, ...turns])).length > limit) {
    turns = turns.slice(2);
  }
  const kept = [...opening, ...turns];
  if (kept.length < messages.length) {
    process.stderr.write("(The oldest messages no longer fit into the context and are left out.)\n");
  }
  return kept;
}
