import { randomUUID } from "node:crypto";
import { StowageError } from "../errors.ts";
import { type ChatMessage, ChatTemplate } from "./chat-template.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { knowsTools, toldAsText } from "./tool-messages.ts";

/**
 * Turns the messages of a chat into the tokens of a prompt. Only the template writes control tokens: where a
 * message spells one, it stays text, so nobody can end their turn and speak in another role.
 */
export class ChatPrompt {
  readonly #tokenizer: Tokenizer;
  readonly #template: ChatTemplate;
  /** Matches the first character of every spelling of a control token. */
  readonly #controlStart: RegExp;

  /**
   * @returns undefined when the model's file carries no chat template
   * @throws StowageError template_invalid, template_limit, template_timeout
   */
  static async of(tokenizer: Tokenizer): Promise<ChatPrompt | undefined> {
    if (tokenizer.chatTemplate === undefined) return undefined;
    const spelling = (token: number | undefined) =>
      token === undefined ? "" : tokenizer.decode([token], { showControl: true });
    const specials = { bos: spelling(tokenizer.bos), eos: spelling(tokenizer.eos) };
    return new ChatPrompt(tokenizer, await ChatTemplate.create(tokenizer.chatTemplate, specials));
  }

  private constructor(tokenizer: Tokenizer, template: ChatTemplate) {
    this.#tokenizer = tokenizer;
    this.#template = template;
    this.#controlStart = controlStart(tokenizer);
  }

  /**
   * The tokens of a chat, up to where the assistant's next answer begins.
   * @param tools descriptions of functions, as OpenAI has them: put into words by the template, or where it knows none, before
   *   the chat
   * @throws StowageError template_refused, template_limit, template_timeout, text_too_long
   */
  async encode(messages: readonly ChatMessage[], tools: readonly unknown[] = []): Promise<number[]> {
    // A cut that no message can contain, made inside whatever looks like a control token: the text is tokenised
    // piece by piece there, and so never as the control token.
    const cut = `\ufdd0${randomUUID()}\ufdd1`;
    const guard = (text: string) => text.replace(this.#controlStart, (first) => first + cut);
    const isKnown = knowsTools(this.#template.source);
    const told = isKnown ? messages : toldAsText(messages, tools);
    const guarded = guardedIn(told, guard) as ChatMessage[];
    const given = isKnown ? (guardedIn(tools, guard) as unknown[]) : [];
    const text = await this.#template.render(guarded, { addGenerationPrompt: true, tools: given });
    const { bos, addsBos } = this.#tokenizer;
    const tokens = text
      .split(cut)
      .flatMap((piece) => [...this.#tokenizer.encode(piece, { addSpecial: false, parseSpecial: true })]);
    // Some templates write it themselves.
    if (addsBos && bos !== undefined && tokens[0] !== bos) tokens.unshift(bos);
    return tokens;
  }
}

/**
 * Checks what a caller gave as messages.
 * @throws StowageError chat_messages
 */
export function checkMessages(messages: unknown): asserts messages is readonly ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new StowageError("chat_messages", { field: "messages", expected: "a list of at least 1 message" });
  }
  messages.forEach((message: unknown, index) => {
    for (const field of ["role", "content"] as const) {
      if (typeof (message as Partial<ChatMessage> | null)?.[field] !== "string") {
        throw new StowageError("chat_messages", {
          field: `messages[${index}].${field}`,
          expected: "a string",
        });
      }
    }
  });
}

/** The same with all texts guarded, names of fields too. */
function guardedIn(value: unknown, guard: (text: string) => string): unknown {
  if (typeof value === "string") return guard(value);
  if (Array.isArray(value)) return value.map((item) => guardedIn(item, guard));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [guard(key), guardedIn(item, guard)]));
}

/** A look-ahead, so that spellings that overlap are all found. */
function controlStart(tokenizer: Tokenizer): RegExp {
  const spellings: string[] = [];
  for (let token = 0; token < tokenizer.vocabularySize; token++) {
    if (!tokenizer.isControl(token)) continue;
    const spelling = tokenizer.decode([token], { showControl: true });
    // A single character cannot be cut.
    if (spelling.length > 1) spellings.push(spelling.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  }
  // (?!) never matches.
  return new RegExp(`(?=${spellings.join("|") || "(?!)"}).`, "gsu");
}
