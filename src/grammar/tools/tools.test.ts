import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { samplePath, withoutSample } from "../../../test/sample-model.ts";
import { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { Random } from "../../workload/random.ts";
import { accepts } from "../accepts.fixture.ts";
import { automatonOf } from "../compile.ts";
import { TokenGrammar } from "../constraint.ts";
import { TokenTrie } from "../token-trie.ts";
import { walk } from "../walk.fixture.ts";
import { CallReader } from "./call-reader.ts";
import { type ToolFormat, toolFormatOf, toolFormats } from "./formats.ts";
import { type ToolUse, toolGrammar } from "./tool-grammar.ts";

const weather = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 }, unit: { enum: ["C", "F"] } },
  required: ["city"],
  additionalProperties: false,
};
const add = {
  type: "object",
  properties: { numbers: { type: "array", items: { $ref: "#/$defs/n" }, minItems: 1, maxItems: 3 } },
  required: ["numbers"],
  $defs: { n: { type: "integer", minimum: 0, maximum: 99 } },
};
const schemas: Readonly<Record<string, object>> = { get_weather: weather, add, now: {} };
const tools = Object.entries(schemas).map(([name, schema]) => ({ name, parameters: JSON.stringify(schema) }));
const use = (changes: Partial<ToolUse> = {}): ToolUse => ({
  tools,
  choice: "required",
  parallel: true,
  ...changes,
});
const noControls = new Map<string, number>();

/** What a reader makes of a text that comes in pieces of any length. */
function read(format: ToolFormat, text: string, random: Random) {
  const reader = new CallReader(format);
  let content = "";
  const calls: { name: string; arguments: string }[] = [];
  const take = (pieces: ReturnType<CallReader["push"]>) => {
    for (const piece of pieces) {
      if (piece.kind === "content") content += piece.text;
      else if (piece.kind === "call") calls.push({ name: piece.name, arguments: "" });
      else calls[piece.index]!.arguments += piece.text;
    }
  };
  for (let at = 0; at < text.length; ) {
    const length = random.integer(1, 7);
    take(reader.push(text.slice(at, at + length)));
    at += length;
  }
  take(reader.flush());
  return { content, calls };
}

describe("Calls of tools", { skip: withoutSample }, () => {
  let tokenizer: Tokenizer;
  let trie: TokenTrie;
  before(async () => {
    tokenizer = await Tokenizer.load(samplePath);
    trie = new TokenTrie(tokenizer);
  });
  after(() => tokenizer.dispose());

  for (const format of toolFormats) {
    it(`are valid by their schemas and read as they were written: ${format.name}`, () => {
      const ajv = new Ajv2020({ strict: false });
      const grammar = new TokenGrammar(automatonOf(toolGrammar(use(), format, noControls)), trie);
      const random = new Random(format.name.length);
      for (let round = 0; round < 6; round++) {
        const text = walk(grammar, random, 30);
        const { content, calls } = read(format, text, random);
        assert.equal(content, "");
        assert.ok(calls.length >= 1, text);
        for (const { name, arguments: given } of calls) {
          assert.ok(ajv.validate(schemas[name]!, JSON.parse(given)), `${text}: ${ajv.errorsText()}`);
        }
      }
    });

    it(`come after any text, or not at all, where they may but need not: ${format.name}`, () => {
      const automaton = automatonOf(
        toolGrammar(use({ choice: "auto", parallel: false }), format, noControls),
      );
      const call = `${format.open}${format.before}now${format.middle}{}${format.after}${format.close}`;
      const random = new Random(9);
      assert.ok(accepts(automaton, "Only text, {of} <any [kind"));
      assert.ok(accepts(automaton, ""));
      assert.ok(accepts(automaton, call));
      assert.deepEqual(read(format, call, random), {
        content: "",
        calls: [{ name: "now", arguments: "{}" }],
      });
      const before = `I will call. ${format.before.slice(0, -1)}`;
      if (format.alone) {
        assert.deepEqual(read(format, `x${call}`, random), { content: `x${call}`, calls: [] });
        return;
      }
      const after = `Text ${call.slice(0, 2)} `;
      assert.ok(accepts(automaton, after + call));
      assert.deepEqual(read(format, after + call, random).content, after);
      assert.ok(!accepts(automaton, `${format.trigger} something else`));
      assert.ok(!accepts(automaton, call + call), "one call alone");
      // Cut before it became one.
      assert.equal(read(format, before, random).content, before);
    });
  }

  it("are begun by the tokens that the vocabulary has for that, and by nothing else", () => {
    const format = toolFormats.find(({ name }) => name === "mistral-list")!;
    const trigger = trie.controlTokens[0]!;
    const controls = new Map([["[TOOL_CALLS]", trigger]]);
    const grammar = new TokenGrammar(
      automatonOf(toolGrammar(use({ choice: "auto" }), format, controls)),
      trie,
    );
    const { states } = grammar;
    const held = states.stepToken(states.start, trigger)!;
    assert.ok(held && !held.free && !held.accepts);
    assert.ok(states.step(held, "[".charCodeAt(0)) && !states.step(held, "x".charCodeAt(0)));
    const other = trie.controlTokens.find((token) => token !== trigger);
    if (other !== undefined) assert.equal(states.stepToken(states.start, other)?.free, true);
    assert.equal(states.stepToken(held, trigger), null);
  });

  it("are written as the model's template writes them", () => {
    const templates: readonly (readonly [string | undefined, string])[] = [
      [undefined, "hermes"],
      ["{% if tools %}<tool_call>{{ x | tojson }}</tool_call>{% endif %}", "hermes"],
      ["[AVAILABLE_TOOLS]{{ tools }}[/AVAILABLE_TOOLS] [TOOL_CALLS] [", "mistral-list"],
      ["[TOOL_CALLS]name[ARGS]{}", "mistral"],
      ["<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>", "deepseek"],
      ['<|start_header_id|> {"name": function name, "parameters": dictionary}', "llama-3"],
      ["<|start_header_id|><function=example_function_name>{}</function>", "function-tags"],
    ];
    for (const [template, name] of templates) assert.equal(toolFormatOf(template).name, name);
  });
});
