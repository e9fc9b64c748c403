/**
 * The fields of all requests: what each of them may be, told apart from the server's own schemas, and values for all
 * that they may not be.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface Field {
  readonly name: string;
  /** Whether the server has to take it. */
  readonly allows: (value: Json) => boolean;
  /** Some that it takes, and that do no harm to other requests. */
  readonly good: readonly Json[];
}

export interface FieldTable {
  readonly path: string;
  /** A request that is right. */
  readonly right: { readonly [key: string]: Json };
  readonly fields: readonly Field[];
}

type Test = (value: Json) => boolean;

/** In characters, as JSON Schema counts. */
const lengthOf = (text: string) => [...text].length;

const isNull: Test = (value) => value === null;
const isBoolean: Test = (value) => typeof value === "boolean";
const isText = (most: number, least = 0): Test => {
  return (value) => typeof value === "string" && lengthOf(value) >= least && lengthOf(value) <= most;
};
const isNumber = (least: number, most: number): Test => {
  return (value) => typeof value === "number" && Number.isFinite(value) && value >= least && value <= most;
};
const isWhole = (least: number, most = Number.MAX_SAFE_INTEGER): Test => {
  return (value) => Number.isSafeInteger(value) && isNumber(least, most)(value);
};
const isList = (item: Test, most: number, least = 0): Test => {
  return (value) =>
    Array.isArray(value) && value.length >= least && value.length <= most && value.every(item);
};
const isEmpty: Test = (value) => Array.isArray(value) && value.length === 0;
const isObject = (value: Json): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** null is as good as not there. */
function optional(name: string, allows: Test, ...good: Json[]): Field {
  return { name, allows: (value) => isNull(value) || allows(value), good: [null, ...good] };
}

function required(name: string, allows: Test, ...good: Json[]): Field {
  return { name, allows, good };
}

const isStop: Test = (value) => isText(256, 1)(value) && (value as string).isWellFormed();
const isBreaker: Test = (value) => isText(40, 1)(value) && (value as string).isWellFormed();
/** A key of this name is dropped unread. */
const isDropped = (key: string) => key === "__proto__";
const isBias: Test = (value) =>
  isObject(value) &&
  Object.entries(value).every(
    ([token, bias]) =>
      isDropped(token) ||
      (/^(0|[1-9]\d{0,8})$/.test(token) && Number(token) < 8192 && isNumber(-100, 100)(bias)),
  );
const isDuration: Test = (value) =>
  typeof value === "string" && value.length <= 32 && /^(-1|\d+(\.\d+)?(ms|s|m|h)?)$/.test(value);

/** A long one may be too long for the sample model's context; none is sent. */
const anyText = isText(Number.POSITIVE_INFINITY);
const someText = isText(Number.POSITIVE_INFINITY, 1);
const isToken = isWhole(0, 8191);
const isPrompt: Test = (value) =>
  someText(value) ||
  isList(isToken, 500, 1)(value) ||
  isList(someText, 128, 1)(value) ||
  isList(isList(isToken, 500, 1), 128, 1)(value);

const isPart: Test = (value) => isObject(value) && value.type === "text" && anyText(value.text ?? null);
const isMessage: Test = (value) =>
  isObject(value) &&
  ["system", "developer", "user", "assistant"].includes(value.role as string) &&
  (value.tool_calls === undefined || isNull(value.tool_calls)) &&
  (anyText(value.content ?? null) || isList(isPart, 1024, 1)(value.content ?? null)) &&
  (value.name === undefined || isNull(value.name) || isText(64)(value.name));

const anyTool = { type: "function", function: { name: "any", parameters: { type: "object" } } };
const anything = { type: "json_schema", json_schema: { name: "anything", schema: {}, strict: true } };
const anyGrammar = 'root ::= "a"';
/** Of the values that are tried, the others have keywords that a schema may not have; this one is dropped everywhere. */
const isSchema: Test = (value) => isObject(value) && Object.keys(value).every((key) => key === "__proto__");
const isFormat: Test = (value) =>
  value === anything || (isObject(value) && ["text", "json_object"].includes(value.type as string));

const generation: readonly Field[] = [
  required("model", (value) => value === "sample"),
  optional("stream", isBoolean, false),
  // The rest of the request does not ask for a stream.
  optional("stream_options", () => false),
  optional("temperature", isNumber(0, 10), 0, 1e-300, 0.7, 10),
  optional("top_p", isNumber(0, 1), 0, 1e-300, 1),
  optional("top_k", isWhole(0, 1_000_000), 0, 1, 1_000_000),
  optional("min_p", isNumber(0, 1), 0, 1),
  optional("frequency_penalty", isNumber(-2, 2), -2, 2),
  optional("presence_penalty", isNumber(-2, 2), -2, 2),
  optional("repeat_penalty", isNumber(0.01, 100), 0.01, 100),
  optional("seed", isWhole(Number.MIN_SAFE_INTEGER), 0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
  optional("stop", (value) => isStop(value) || isList(isStop, 16)(value), "x", [], ["a", "\0"]),
  optional("n", isWhole(1, 16), 1, 3),
  // Without it, all of the context is generated.
  { ...optional("max_tokens", isWhole(1)), good: [2] },
  optional("ignore_eos", isBoolean, true, false),
  optional("keep_alive", (value) => isNumber(-1, 1e9)(value) || isDuration(value), -1, "-1", 600, "10m"),
  optional("grammar", (value) => value === anyGrammar, anyGrammar),
  optional("json_schema", isSchema, {}),
  optional("user", isText(512), "", "somebody", "\ud800"),
  // The sample model has no adapter that could be named.
  optional("lora", isEmpty, []),
  optional("typical_p", isNumber(0, 1), 0, 0.5, 1),
  optional("top_n_sigma", isNumber(-1, 100), -1, 0, 1.5, 100),
  optional("xtc_probability", isNumber(0, 1), 0, 1),
  optional("xtc_threshold", isNumber(0, 1), 0, 1),
  optional("dry_multiplier", isNumber(0, 100), 0, 100),
  optional("dry_base", isNumber(1, 100), 1, 100),
  optional("dry_allowed_length", isWhole(0, 131_072), 0, 131_072),
  optional("dry_penalty_last_n", isWhole(-1, 131_072), -1, 0, 131_072),
  optional("dry_sequence_breakers", isList(isBreaker, 16), [], ["a", "\0"]),
  optional("mirostat", isWhole(0, 2), 0, 1, 2),
  optional("mirostat_tau", isNumber(0, 100), 0, 100),
  optional("mirostat_eta", isNumber(0, 1), 0, 1),
  optional("logit_bias", isBias, {}, { 0: 100, 8191: -100 }),
];

const messages = required(
  "messages",
  isList(isMessage, 4096, 1),
  [{ role: "user", content: "" }],
  [{ role: "developer", content: [{ type: "text", text: "\ud800" }] }],
  [
    { role: "system", content: "Be brief", name: "me" },
    { role: "user", content: "Hello", "": 1, constructor: null },
  ],
);

export const chatTable: FieldTable = {
  path: "/v1/chat/completions",
  right: { model: "sample", messages: [{ role: "user", content: "Hello" }], max_tokens: 1 },
  fields: [
    ...generation,
    messages,
    optional("max_completion_tokens", isWhole(1), 1),
    optional("logprobs", isBoolean, true, false),
    // Without `logprobs` there is nothing to ask more of.
    optional("top_logprobs", (value) => value === 0, 0),
    optional("tools", isEmpty, [], [anyTool]),
    optional("parallel_tool_calls", isBoolean, true, false),
    optional("functions", isEmpty, []),
    optional("tool_choice", (value) => value === "none" || value === "auto", "none", "auto"),
    optional("response_format", isFormat, { type: "text" }, { type: "json_object" }, anything),
    optional(
      "modalities",
      isList((value) => value === "text", 100),
      ["text"],
    ),
    optional("audio", () => false),
  ],
};

export const completionTable: FieldTable = {
  path: "/v1/completions",
  right: { model: "sample", prompt: "Once", max_tokens: 1 },
  fields: [
    ...generation,
    required("prompt", isPrompt, "\ud800", "\0", [0], ["a", "b"], [[1], [2, 3]]),
    optional("logprobs", isWhole(0, 20), 0, 20),
    optional("echo", isBoolean, true, false),
    optional("best_of", (value) => value === 1, 1),
    optional("suffix", () => false),
  ],
};

/** Elements of the sample model's states. */
const width = 256;

export const embeddingsTable: FieldTable = {
  path: "/v1/embeddings",
  right: { model: "sample", input: "Once" },
  fields: [
    generation[0]!,
    required(
      "input",
      (value) =>
        isPrompt(value) ||
        isList(someText, 2048, 1)(value) ||
        isList(isList(isToken, 500, 1), 2048, 1)(value),
      "\ud800",
      [0],
      ["a", "b"],
      [[1], [2, 3]],
    ),
    optional("encoding_format", (value) => value === "float" || value === "base64", "float", "base64"),
    optional("dimensions", isWhole(1, width), 1, width),
    ...generation.filter(({ name }) => name === "keep_alive" || name === "user"),
  ],
};

export const tokenizeTable: FieldTable = {
  path: "/tokenize",
  right: { model: "sample", prompt: "Hello" },
  fields: [
    generation[0]!,
    required("prompt", anyText, "", "\ud800"),
    optional("add_special_tokens", isBoolean, true, false),
    // Together with a prompt there may be none.
    required("messages", () => false),
  ],
};

export const detokenizeTable: FieldTable = {
  path: "/detokenize",
  right: { model: "sample", tokens: [1, 2] },
  fields: [generation[0]!, required("tokens", isList(isToken, 1_048_576), [], [0, 8191])],
};

/** No value of its field is good here: it would unload the model. */
export const unloadTable: FieldTable = {
  path: "/api/models/unload",
  right: { model: "nobody's" },
  fields: [required("model", () => false)],
};

const numbers = [
  ..."0 -0 1 -1 2 17 21 0.5 1.5 -0.001 1e-300 1e7 4294967296 9007199254740991 9007199254740992".split(" "),
  ..."-9007199254740993 123456789012345678901234567890 1e308 -1e308 1e999 -1e999".split(" "),
];
const texts = [
  ...['""', '" "', '"text"', '"1"', '"-1"', '"true"', '"null"', '"NaN"', '"Infinity"', '"[]"', '"{}"'],
  ...['"10 m"', '"1d"', '"1e3"', '"\\ud800"', '"\\udc00 \\ud800"', '"\\u0000"', '"\\u001b[31m\\r\\n"'],
  ...['"__proto__"', '"constructor"', '"../../etc/passwd"', '"\\u202e"', '"{{7*7}}"', '"$(id)"'],
  ...[`"${"x".repeat(513)}"`, `"${"long ".repeat(2000)}"`, `"${"😀".repeat(513)}"`],
];
const lists = [
  ..."[] [null] [true] [0] [-1] [0.5] [8192] [1e999] [[]] [[-1]] [[1],2] [{}] [[[[[[[[]]]]]]]]".split(" "),
  ...['["a",1]', '[1,"a"]', '["a",null]', '[""]', '["\\ud800"]', '["text"]', '[["a"]]', '["audio"]'],
  `[${Array(17).fill('"a"').join()}]`,
  `[${Array(129).fill("[1]").join()}]`,
  `[${Array(600).fill("1").join()}]`,
];
const objects = [
  ...["{}", '{"a":1}', '{"":null}', '{"type":"text"}', '{"type":"json_object"}', '{"type":null}'],
  ...['{"__proto__":{"polluted":1}}', '{"__proto__":null,"constructor":{"prototype":{"polluted":1}}}'],
  ...['{"0":1}', '{"0":101}', '{"8192":1}', '{"01":1}', '{"-1":1}', '{"7":null}', '{"5":1e999}'],
  ...['{"length":1,"0":"a"}', '{"toString":1,"valueOf":1,"toJSON":1,"then":1}', '{"include_usage":true}'],
  ...['{"$ref":"#"}', `${'{"a":'.repeat(25)}1${"}".repeat(25)}`],
];

/** JSON of every kind; some of them only JSON can say, such as a number that is too large for any. */
export const values: readonly string[] = [
  "null",
  "true",
  "false",
  ...numbers,
  ...texts,
  ...lists,
  ...objects,
];

const anyMessage = (text: string) => `[{"role":"user","content":"Hello"},${text}]`;

/** Lists of messages of which the second is wrong. */
export const badMessages: readonly string[] = [
  ...values,
  ...values.map((value) => `{"role":${value},"content":"a"}`),
  ...values.map((value) => `{"role":"user","content":${value}}`),
  ...values.map((value) => `{"role":"assistant","content":[{"type":"text","text":${value}}]}`),
  ...values.map((value) => `{"role":"user","content":[{"type":${value},"text":"a"}]}`),
  ...values.map((value) => `{"role":"user","content":"a","name":${value}}`),
  ...["tool", "function", "SYSTEM", "user "].map((role) => `{"role":"${role}","content":"a"}`),
  '{"role":"assistant","content":"a","tool_calls":[{}]}',
  '{"role":"assistant","content":"a","function_call":{"name":"f"}}',
  '{"role":"tool","content":"a"}',
  '{"role":"tool","tool_call_id":"1"}',
  '{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{}}}]}',
  '{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}',
  '{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"","format":"wav"}}]}',
].map(anyMessage);
