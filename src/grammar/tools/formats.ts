/** How models write calls of tools: the texts around a call's name and its arguments. */
export interface ToolFormat {
  readonly name: string;
  /** What a template has that was written for it: all of these. */
  readonly signs: readonly string[];
  /** Where this comes, a call begins: the model is held to the form from there on. */
  readonly trigger: string;
  /** Before all calls and after all. */
  readonly open: string;
  readonly close: string;
  /** Before a name, between it and the arguments, and after those. */
  readonly before: string;
  readonly middle: string;
  readonly after: string;
  readonly between: string;
  /** A call is all that such a model then says: it stands at the start or not at all. */
  readonly alone?: true;
}

/** The first whose signs a template has is its own. */
export const toolFormats: readonly ToolFormat[] = [
  {
    name: "mistral",
    signs: ["[TOOL_CALLS]", "[ARGS]"],
    trigger: "[TOOL_CALLS]",
    ...{ open: "", close: "", before: "[TOOL_CALLS]", middle: "[ARGS]", after: "", between: "" },
  },
  {
    name: "mistral-list",
    signs: ["[TOOL_CALLS]"],
    trigger: "[TOOL_CALLS]",
    ...{ open: "[TOOL_CALLS][", close: "]" },
    ...{ before: '{"name": "', middle: '", "arguments": ', after: "}", between: ", " },
  },
  {
    name: "deepseek",
    signs: ["<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"],
    trigger: "<｜tool▁calls▁begin｜>",
    ...{ open: "<｜tool▁calls▁begin｜>", close: "<｜tool▁calls▁end｜>" },
    ...{ before: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", middle: "\n```json\n" },
    ...{ after: "\n```<｜tool▁call▁end｜>", between: "\n" },
  },
  {
    name: "function-tags",
    signs: ["<function=", "</function>", "<|start_header_id|>"],
    trigger: "<function=",
    ...{ open: "", close: "", before: "<function=", middle: ">", after: "</function>", between: "" },
  },
  {
    name: "llama-3",
    signs: ["<|start_header_id|>", '"parameters"'],
    trigger: '{"name": "',
    ...{ open: "", close: "", before: '{"name": "', middle: '", "parameters": ', after: "}", between: "" },
    alone: true,
  },
  {
    name: "hermes",
    signs: [],
    trigger: "<tool_call>",
    ...{ open: "", close: "", before: '<tool_call>\n{"name": "', middle: '", "arguments": ' },
    ...{ after: "}\n</tool_call>", between: "\n" },
  },
];

/** The format that a model's chat template was written for; that of Hermes and Qwen where none is seen. */
export function toolFormatOf(template: string | undefined): ToolFormat {
  return toolFormats.find(({ signs }) => signs.every((sign) => template?.includes(sign) ?? sign === ""))!;
}
