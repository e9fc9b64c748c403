import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { StowageError } from "../errors.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { Random } from "../workload/random.ts";
import { automatonOf } from "./compile.ts";
import { Constraint, TokenGrammar } from "./constraint.ts";
import type { Grammar } from "./expression.ts";
import { parseGbnf } from "./gbnf.ts";
import { parseSchema, schemaGrammar } from "./schema/compile-schema.ts";
import { TokenTrie } from "./token-trie.ts";
import { tokensIn } from "./walk.fixture.ts";

/** Far more than any of them takes on a machine that is not overloaded, ms; without bounds they would take years. */
const patience = 20_000;
/** What the heap may grow by, bytes. */
const heap = 700e6;

const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const nested = (depth: number, inner: unknown, wrap: (inner: unknown) => unknown): unknown => {
  let schema = inner;
  for (let level = 0; level < depth; level++) schema = wrap(schema);
  return schema;
};
const properties = (count: number) =>
  Object.fromEntries(times(count, (index) => [`property number ${index}`, { type: "string" }]));

const schemas: Readonly<Record<string, () => unknown>> = {
  "references that double": () => ({
    $defs: Object.fromEntries(
      times(60, (index) => [
        `d${index}`,
        { allOf: [{ $ref: `#/$defs/d${index + 1}` }, { $ref: `#/$defs/d${index + 1}` }] },
      ]).concat([["d60", { type: "string" } as never]]),
    ),
    $ref: "#/$defs/d0",
  }),
  "unions of unions that hold together": () => ({
    allOf: times(24, (index) => ({
      anyOf: times(3, (option) => ({ properties: { [`p${index}`]: { const: option } } })),
    })),
  }),
  "values of values without end": () => ({
    $defs: {
      a: {
        type: "object",
        properties: { l: { $ref: "#/$defs/a" }, r: { $ref: "#/$defs/a" }, n: { type: "null" } },
      },
    },
    $ref: "#/$defs/a",
  }),
  "references in a circle": () => ({
    $defs: { a: { $ref: "#/$defs/b" }, b: { anyOf: [{ $ref: "#/$defs/a" }, { type: "null" }] } },
    $ref: "#/$defs/a",
  }),
  "a chain of 10,000 references": () => ({
    $defs: Object.fromEntries(times(10_000, (index) => [`d${index}`, { $ref: `#/$defs/d${index + 1}` }])),
    $ref: "#/$defs/d0",
  }),
  "a depth of 5,000": () => nested(5_000, true, (items) => ({ type: "array", items })),
  "allOf in allOf": () => nested(5_000, true, (inner) => ({ allOf: [inner] })),
  "a pattern that backtracks": () => ({ type: "string", pattern: "^(a+)+(b+)+((c|d)+)*$" }),
  "a pattern of many states": () => ({ type: "string", pattern: "^(a|b)*a(a|b){500}$" }),
  "repetitions of repetitions": () => ({ type: "string", pattern: "^(((a{1,100}){1,100}){1,100}){1,100}$" }),
  "patterns that hold together": () => ({
    type: "string",
    allOf: times(8, (index) => ({ pattern: `^([a-${"bcdefghi"[index]}]|x.{${index * 7}}y)*$` })),
  }),
  "what matches none of many patterns": () => ({
    patternProperties: { "(a|b)*a(a|b){16}$": { type: "string" } },
    additionalProperties: { type: "number" },
  }),
  "a very long text": () => ({ type: "string", minLength: 900_000, maxLength: 1_000_000 }),
  "a very long list": () => ({
    type: "array",
    items: { type: "array", items: { type: "integer" }, maxItems: 1e9 },
    minItems: 1e9,
  }),
  "8,000 properties": () => ({ type: "object", properties: properties(8_000) }),
  "3,000 counted properties": () => ({
    type: "object",
    properties: properties(3_000),
    minProperties: 1_500,
    additionalProperties: false,
  }),
  "a union of 3,000": () => ({
    oneOf: times(3_000, (index) => ({
      type: "object",
      properties: { kind: { const: `k${index}` } },
      required: ["kind"],
    })),
  }),
  "40,000 values": () => ({ enum: times(40_000, (index) => `value ${index}`) }),
  "names of its own kind": () =>
    JSON.parse(
      '{"type":"object","properties":{"__proto__":{"type":"string"},"constructor":{"type":"null"}},"required":["__proto__","toString"]}',
    ),
  "1 MiB of nothing": () => parseSchema(`{"description":"${"x".repeat(1 << 20)}"}`),
  "1 MB of objects": () =>
    nested(40, { type: "null" }, (inner) => ({
      type: "object",
      properties: {
        a: inner,
        ...Object.fromEntries(
          times(400, (index) => [`name ${index}`, { type: "integer", minimum: 17, maximum: 12_345 }]),
        ),
      },
    })),
};

const grammars: Readonly<Record<string, () => Grammar>> = {
  "left recursion in a circle": () => parseGbnf('root ::= a\na ::= b "x" | "y"\nb ::= c\nc ::= a | root'),
  "nothing in a circle": () => parseGbnf('root ::= a* "z"\na ::= b* | ""\nb ::= a? root?'),
  "every way to read a text": () => parseGbnf('root ::= root root root | root root | "a" | "ab" | [a-z ]*'),
  palindromes: () => parseGbnf('root ::= "a" root "a" | "b" root "b" | "a" | "b" | ""'),
  "counts of counts": () => parseGbnf('root ::= ((("a"{0,1000}){0,1000}){0,1000}){0,1000} "b"'),
  "counts side by side": () => parseGbnf(`root ::= ${times(300, () => "([a-z]{1,500})").join(" ")}`),
  "a thousand rules that call each other": () =>
    parseGbnf(
      [
        "root ::= r0",
        ...times(
          1000,
          (index) =>
            `r${index} ::= r${(index * 7 + 1) % 1000} r${(index * 13 + 5) % 1000} | "${index}" | r${(index + 1) % 1000}`,
        ),
      ].join("\n"),
    ),
  "a literal of a megabyte": () => parseGbnf(`root ::= "${"long ".repeat(200_000)}"`),
  "classes of all characters": () =>
    parseGbnf(
      `root ::= (${times(2_000, (index) => `[\\u${(0x1000 + index * 3).toString(16)}-\\uffff]`).join(" | ")})*`,
    ),
};

describe("A hostile schema or grammar", { skip: withoutSample }, () => {
  let tokenizer: Tokenizer;
  let trie: TokenTrie;
  before(async () => {
    tokenizer = await Tokenizer.load(samplePath);
    trie = new TokenTrie(tokenizer);
  });
  after(() => tokenizer.dispose());

  /** Made ready and used for some tokens, or refused; either way within bounds. */
  function tryOut(make: () => Grammar): void {
    const started = performance.now();
    const before = process.memoryUsage().heapUsed;
    try {
      const constraint = new Constraint(new TokenGrammar(automatonOf(make()), trie));
      const random = new Random(1);
      for (let count = 0; count < 12 && !constraint.isComplete; count++) {
        const allowed = tokensIn(constraint.allowed(), trie.vocabularySize).filter((token) =>
          trie.textOf(token),
        );
        if (allowed.length === 0) break;
        constraint.accept(allowed[random.integer(0, allowed.length - 1)]!);
      }
    } catch (error) {
      assert.ok(
        error instanceof StowageError && error.status === 400,
        `${error instanceof Error ? error.stack : error}`,
      );
    }
    const took = performance.now() - started;
    assert.ok(took < patience, `it took ${took.toFixed(0)} ms`);
    assert.ok(process.memoryUsage().heapUsed - before < heap, "it took too much memory");
  }

  for (const [name, make] of Object.entries(schemas)) {
    it(`ends in bounded time and memory, done or refused: ${name}`, () =>
      tryOut(() => schemaGrammar(make())));
  }
  for (const [name, make] of Object.entries(grammars)) {
    it(`ends in bounded time and memory, done or refused: ${name}`, () => tryOut(make));
  }
});
