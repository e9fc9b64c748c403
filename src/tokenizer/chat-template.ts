import { StowageError } from "../errors.ts";
import {
  maxMessages,
  maxMilliseconds,
  maxSourceLength,
  maxTextLength,
  type TemplateResult,
} from "./template-limits.ts";
import { templateProcess } from "./template-process.ts";

/** One message of a chat. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  /** Calls that an assistant made; arguments as they are, not as text. */
  readonly tool_calls?: ToolCall[];
  /** Of a tool's answer: which call it answers, and whose it is. */
  readonly tool_call_id?: string;
  readonly name?: string;
}

export interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** The spellings of tokens that templates put into the text. */
export interface TemplateSpecials {
  readonly bos?: string;
  readonly eos?: string;
}

/**
 * A model's chat template (Jinja): turns messages into the text that the model was trained on. It is rendered in a
 * process of its own, within a second, so a template that loops or swallows memory harms nobody else.
 */
export class ChatTemplate {
  readonly source: string;
  readonly #specials: TemplateSpecials;

  /**
   * Parses the template.
   * @param source Jinja, at most 1 MiB
   * @throws StowageError template_invalid, template_limit, template_timeout
   */
  static async create(source: string, specials: TemplateSpecials = {}): Promise<ChatTemplate> {
    checkLimit("the template's length", source.length, maxSourceLength);
    textOf(await templateProcess.run({ source }));
    return new ChatTemplate(source, specials);
  }

  private constructor(source: string, specials: TemplateSpecials) {
    this.source = source;
    this.#specials = specials;
  }

  /**
   * @param messages at most 4096, of at most 16 Mi characters in all
   * @param options.tools descriptions of functions, as OpenAI has them
   * @param options.addGenerationPrompt whether the text ends where the assistant's answer begins
   * @returns text to encode with `parseSpecial`, without `addSpecial` where the template itself puts `bos` first
   * @throws StowageError template_refused when the template raises an exception over the messages;
   *   template_invalid, template_limit, template_timeout
   */
  async render(
    messages: readonly ChatMessage[],
    options: { addGenerationPrompt: boolean; tools?: readonly unknown[] },
  ): Promise<string> {
    const { tools = [] } = options;
    checkLimit("the number of messages", messages.length, maxMessages);
    const length = messages.reduce((sum, { role, content }) => sum + role.length + content.length, 0);
    const beside = messages.filter(({ tool_calls }) => tool_calls).map(({ tool_calls }) => tool_calls);
    const all = length + (beside.length + tools.length > 0 ? JSON.stringify([beside, tools]).length : 0);
    checkLimit("the length of all messages", all, maxTextLength);
    const variables = {
      messages,
      add_generation_prompt: options.addGenerationPrompt,
      bos_token: this.#specials.bos ?? "",
      eos_token: this.#specials.eos ?? "",
      // Templates tell "no tools" by none, not by the name being undefined.
      tools: tools.length > 0 ? tools : null,
      documents: null,
    };
    return textOf(await templateProcess.run({ source: this.source, variables }));
  }
}

function textOf(result: TemplateResult): string {
  switch (result.kind) {
    case "text":
      return result.text;
    case "refused":
      throw new StowageError("template_refused", { reason: result.reason });
    case "invalid":
      throw new StowageError("template_invalid", { reason: result.reason });
    case "timeout":
      throw new StowageError("template_timeout", { limit: maxMilliseconds });
    case "limit":
      throw new StowageError("template_limit", {
        what: result.what,
        found: result.found,
        limit: result.limit,
      });
  }
}

function checkLimit(what: string, found: number, limit: number): void {
  if (found > limit) throw new StowageError("template_limit", { what, found, limit });
}
