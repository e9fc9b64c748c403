import { randomBytes } from "node:crypto";
import type { WireForm } from "../engine/process/messages.ts";
import { StowageError } from "../errors.ts";
import { type AnswerPiece, CallReader } from "../grammar/tools/call-reader.ts";
import { toolFormats } from "../grammar/tools/formats.ts";
import type { ChatRequest } from "./schemas/chat.ts";

/** What a request's tools ask for: their descriptions for the prompt, and the form of the answer. */
export interface ToolDemand {
  readonly tools: unknown[];
  readonly form: WireForm;
}

/**
 * undefined where the request has no tools, or wants none called.
 * @throws StowageError request_invalid
 */
export function toolDemandOf(body: ChatRequest): ToolDemand | undefined {
  const tools = body.tools ?? [];
  const { tool_choice: choice } = body;
  const refuse = (field: string, reason: string) => new StowageError("request_invalid", { field, reason });
  if (tools.length === 0) {
    if (choice === "required" || typeof choice === "object") {
      if (choice) throw refuse("tool_choice", "it needs tools");
    }
    return undefined;
  }
  const names = tools.map((tool) => tool.function.name);
  const twice = names.findIndex((name, index) => names.indexOf(name) !== index);
  if (twice >= 0)
    throw refuse(`tools[${twice}].function.name`, "it has to be another than that of an earlier tool");
  if (choice === "none") return undefined;
  const only = choice && typeof choice === "object" ? choice.function.name : undefined;
  if (only !== undefined && !names.includes(only)) {
    throw refuse("tool_choice.function.name", "it has to be the name of one of the tools");
  }
  const called = tools.filter((tool) => only === undefined || tool.function.name === only);
  return {
    tools,
    form: {
      field: "tools",
      tools: called.map(({ function: { name, parameters } }) => ({
        name,
        parameters: JSON.stringify(
          parameters ?? { type: "object", properties: {}, additionalProperties: false },
        ),
      })),
      choice: only !== undefined || choice === "required" ? "required" : "auto",
      parallel: only === undefined && body.parallel_tool_calls !== false,
    },
  };
}

/** A call as an answer has it. */
export interface CallOfTool {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

/** Reads the answer to a request with tools, in the format of its model. */
export function readerOf(toolFormat: string | undefined): CallReader | undefined {
  const format = toolFormats.find(({ name }) => name === toolFormat);
  return format && new CallReader(format);
}

/** A whole answer: its text, and its calls. */
export function callsIn(
  text: string,
  toolFormat: string | undefined,
): { content: string; calls: CallOfTool[] } {
  const reader = readerOf(toolFormat);
  if (!reader) return { content: text, calls: [] };
  let content = "";
  const calls: { id: string; type: "function"; function: { name: string; arguments: string } }[] = [];
  for (const piece of [...reader.push(text), ...reader.flush()]) {
    if (piece.kind === "content") content += piece.text;
    else if (piece.kind === "call") {
      calls.push({ id: callId(), type: "function", function: { name: piece.name, arguments: "" } });
    } else calls[piece.index]!.function.arguments += piece.text;
  }
  return { content, calls };
}

/** What a chunk says of a piece, as JSON. */
export function deltaOf(piece: AnswerPiece): string {
  if (piece.kind === "content") return JSON.stringify({ content: piece.text });
  const { index } = piece;
  return JSON.stringify({
    tool_calls: [
      piece.kind === "call"
        ? { index, id: callId(), type: "function", function: { name: piece.name, arguments: "" } }
        : { index, function: { arguments: piece.text } },
    ],
  });
}

/** Nine letters and digits: what every model's template takes, Mistral's too. */
function callId(): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return [...randomBytes(9)].map((byte) => letters[byte % letters.length]).join("");
}
