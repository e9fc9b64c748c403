import assert from "node:assert/strict";
import { test } from "node:test";
import { StowageError } from "../../errors.ts";
import { accepts } from "../accepts.fixture.ts";
import { automatonOf } from "../compile.ts";
import { schemaGrammar } from "./compile-schema.ts";

/** Schemas that cannot be kept to, with the keyword that is named and where it stands. */
const unsupported: readonly (readonly [schema: unknown, keyword: string, where: string])[] = [
  [{ not: { type: "string" } }, "not", "#"],
  [{ if: {} }, "if", "#"],
  [{ type: "array", items: {}, uniqueItems: true }, "uniqueItems", "#/uniqueItems"],
  [{ type: "array", contains: { type: "string" } }, "contains", "#"],
  [{ type: "object", dependentRequired: { a: ["b"] } }, "dependentRequired", "#"],
  [{ type: "object", unevaluatedProperties: false }, "unevaluatedProperties", "#"],
  [{ properties: { a: { minLenght: 3 } } }, "minLenght", "#/properties/a"],
  [{ type: "string", pattern: "(?=a)b" }, "pattern", "#/pattern"],
  [{ type: "string", pattern: "(a)\\1" }, "pattern", "#/pattern"],
  [{ type: "string", pattern: "\\bword" }, "pattern", "#/pattern"],
  [{ type: "string", pattern: "a^b" }, "pattern", "#/pattern"],
  [{ type: "string", pattern: "\\p{L}" }, "pattern", "#/pattern"],
  [{ type: "string", format: "telepathy" }, "format", "#/format"],
  [{ type: "number", multipleOf: 0.01 }, "multipleOf", "#/multipleOf"],
  [{ type: "integer", multipleOf: 123_457 }, "multipleOf", "#/multipleOf"],
  [{ type: "integer", minimum: 1e300 }, "minimum", "#/minimum"],
  [{ $ref: "https://example.com/schema.json" }, "$ref", "#"],
  [{ $ref: "#anchor" }, "$ref", "#"],
  [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "oneOf", "#/oneOf"],
  [{ oneOf: [{ properties: { a: {} } }, { properties: { b: {} } }] }, "oneOf", "#/oneOf"],
  [{ patternProperties: { "^a": {}, b$: {} } }, "patternProperties", "#/patternProperties/^a"],
  [{ const: { a: 1 }, properties: { a: {} } }, "properties", "#/properties"],
  [{ propertyNames: { enum: ["a"] } }, "enum", "#/propertyNames"],
];

const invalid: readonly (readonly [schema: unknown, where: string])[] = [
  [7, "#"],
  [{ type: "strin" }, "#/type"],
  [{ properties: { a: "string" } }, "#/properties/a"],
  [{ properties: [] }, "#/properties"],
  [{ required: "a" }, "#/required"],
  [{ type: "string", minLength: -1 }, "#/minLength"],
  [{ type: "number", minimum: "1" }, "#/minimum"],
  [{ type: "string", pattern: "(" }, "#/pattern"],
  [{ enum: [] }, "#/enum"],
  [{ anyOf: [] }, "#/anyOf"],
  [{ $ref: "#/$defs/missing" }, "#/$ref"],
  [{ $ref: "#" }, "#"],
  [{ $defs: { a: { allOf: [{ $ref: "#/$defs/a" }] } }, $ref: "#/$defs/a" }, "#/$defs/a"],
];

function faultOf(schema: unknown): StowageError {
  try {
    automatonOf(schemaGrammar(schema));
  } catch (error) {
    assert.ok(error instanceof StowageError, String(error));
    return error;
  }
  return assert.fail(`it is taken: ${JSON.stringify(schema)}`);
}

test("A keyword that cannot be kept exactly is refused, by its name and place", () => {
  for (const [schema, keyword, where] of unsupported) {
    const { code, details } = faultOf(schema);
    assert.deepEqual([code, details.keyword, details.where], ["schema_unsupported", keyword, where]);
  }
});

test("What is no schema is refused, by its place", () => {
  for (const [schema, where] of invalid) {
    const { code, details } = faultOf(schema);
    assert.deepEqual([code, details.where], ["schema_invalid", where], JSON.stringify(schema));
  }
});

test("A schema that no value fits is refused", () => {
  for (const schema of [
    false,
    { enum: [1], type: "string" },
    { type: "string", minLength: 3, maxLength: 2 },
    { type: "integer", minimum: 3, maximum: 2 },
    { type: "object", properties: { a: false }, required: ["a"] },
    {
      $defs: { a: { type: "object", properties: { a: { $ref: "#/$defs/a" } }, required: ["a"] } },
      $ref: "#/$defs/a",
    },
    { allOf: [{ type: "string" }, { type: "number" }] },
    { type: "string", allOf: [{ pattern: "^a+$" }, { pattern: "^b+$" }] },
  ]) {
    assert.equal(faultOf(schema).code, "grammar_empty", JSON.stringify(schema));
  }
});

test("What is allowed is allowed to the last digit", () => {
  const cases: readonly (readonly [schema: unknown, allowed: string[], refused: string[]])[] = [
    [
      { type: "integer", minimum: -12, maximum: 105 },
      ["-12", "-9", "0", "7", "99", "100", "105"],
      ["-13", "-0", "00", "106", "1.0", "1e1"],
    ],
    [
      { type: "number", exclusiveMinimum: 0, maximum: 2.5 },
      ["0.001", "1", "2.5", "2.50"],
      ["0", "0.0", "2.501", "-1"],
    ],
    [{ type: "number", minimum: -0.5 }, ["-0.5", "0", "999.25"], ["-0.51", "-1"]],
    [{ type: "integer", multipleOf: 7 }, ["0", "7", "-14", "700000"], ["1", "-7.0", "07"]],
    [{ type: "number", multipleOf: 0.5, minimum: 1, maximum: 2 }, ["1.0", "1.5", "2.0"], ["1.2", "0.5"]],
    [
      { type: "string", maxLength: 2 },
      ['""', '"é😀"', '"\\u00e9\\ud83d\\ude00"', '"\\n"'],
      ['"abc"', '"\\ud83d"', '"\n"'],
    ],
    [{ type: "string", pattern: '^[\\n"]+$' }, ['"\\n\\""'], ['"n"', '"\n"']],
    [
      { type: "array", items: { const: 1 }, minItems: 1, maxItems: 2 },
      ["[1]", "[1, 1]", "[ 1,1 ]"],
      ["[]", "[1,1,1]", "[1,]"],
    ],
    [
      { type: "object", properties: { a: { const: 1 }, b: { const: 2 } }, required: ["b"] },
      ['{"b":2}', '{"a":1,"b":2}', '{ "a": 1, "b": 2 }', '{\n  "b": 2\n}'],
      ["{}", '{"a":1}', '{"b":2,"a":1}', '{"b":2,}', '{"b":2,"b":2}'],
    ],
    [
      { type: "object", properties: { a: { const: 1 } }, additionalProperties: { const: 2 } },
      ['{"a":1,"x":2}', '{"x":2,"y":2}', '{"aa":2}'],
      ['{"x":1}', '{"a":2}', '{"x":2,"a":1}', '{"\\u0061":2}'],
    ],
  ];
  for (const [schema, allowed, refused] of cases) {
    const automaton = automatonOf(schemaGrammar(schema));
    for (const text of allowed)
      assert.ok(accepts(automaton, text), `${text} is refused: ${JSON.stringify(schema)}`);
    for (const text of refused)
      assert.ok(!accepts(automaton, text), `${text} is allowed: ${JSON.stringify(schema)}`);
  }
});
