import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { StowageError } from "../errors.ts";
import { accepts } from "./accepts.fixture.ts";
import { automatonOf } from "./compile.ts";
import { parseGbnf } from "./gbnf.ts";

/** Each grammar, texts that it allows, and texts that it does not. */
const cases: readonly (readonly [grammar: string, allowed: string[], refused: string[]])[] = [
  ['root ::= "a" "b" | "c"', ["ab", "c"], ["", "a", "abc"]],
  ['root ::= ("a" | "b")* "c"', ["c", "abbac"], ["ab", "ca"]],
  ['root ::= "ab"+ "c"?', ["ab", "ababc"], ["aab", "c", "abb"]],
  ['root ::= "a"{3}', ["aaa"], ["aa", "aaaa"]],
  ['root ::= "a"{2,}', ["aa", "aaaaaaa"], ["a"]],
  ['root ::= "a"{0,2}', ["", "aa"], ["aaa"]],
  ['root ::= "a" { 1 , 2 } ', ["a", "aa"], [""]],
  ["root ::= [a-cx-]{2}", ["ax", "-c"], ["ad", "d-"]],
  ['root ::= [^"\\\\\\n]', ["a", "é", "😀"], ['"', "\\", "\n", "aa", ""]],
  ["root ::= .", ["a", "\n", "é", "\u{10ffff}"], ["", "aa"]],
  ["root ::= [ぁ-ゟ]+ [一-鿿]?", ["ひらがな", "あ漢"], ["漢", "aあ"]],
  ['root ::= "\\x41\\u00e9\\U0001F600\\t\\"\\\\\\[\\]\\-"', ['Aé😀\t"\\[]-'], ["A"]],
  ["root ::= [\\x30-\\x39]+", ["0123"], ["a"]],
  ['# first\nroot ::= a # second\n\na ::= (\n  # third\n  b\n  |\n  "x"\n)\nb::="y"', ["x", "y"], ["xy"]],
  ['root ::= "a" |\n "b"', ["a", "b"], []],
  ['root ::= | "a"', ["", "a"], ["aa"]],
  ['root ::= "" "a"', ["a"], [""]],
  ['root ::= a-b-1\r\na-b-1 ::= "x"', ["x"], []],
  // Recursion of every kind.
  ['root ::= "(" root ")" | ""', ["", "()", "((()))"], ["(", "())"]],
  ['root ::= root "x" | "y"', ["y", "yxxx"], ["x", "xy"]],
  ['root ::= root root | "x"', ["x", "xxxxx"], ["", "xy"]],
  ['root ::= a "!"\na ::= b | "x"\nb ::= a "y" | a', ["x!", "xyyy!"], ["y!", "!"]],
  ['root ::= a root "b" | ""\na ::= "a" | ""', ["", "ab", "b", "abb", "aabb"], ["aab"]],
  ['root ::= "x" root | "x"', ["x", "xxx"], [""]],
  ['root ::= ("a"* "b"?)*', ["", "abab", "bbbaaa"], ["c"]],
  // Counted, as they are too large to be written out.
  ["root ::= [a-zé]{30,32}", ["é".repeat(30), "a".repeat(32)], ["é".repeat(29), "a".repeat(33)]],
  ['root ::= ([a-z]+ ",")+ [0-9]{40,}', [`a,bc,${"1".repeat(50)}`], [`a,${"1".repeat(39)}`]],
  ['root ::= ("a"?){30,40}', ["", "a".repeat(40)], ["a".repeat(41)]],
  ['root ::= (("a" | "ab"){3}){20}', ["a".repeat(60), "ab".repeat(60)], ["a".repeat(59), "ab".repeat(61)]],
  ["root ::= [a-z]{1000000}", [], ["a"]],
];

describe("A grammar in GBNF", () => {
  for (const [grammar, allowed, refused] of cases) {
    it(`allows what it says: ${JSON.stringify(grammar).slice(0, 70)}`, () => {
      const automaton = automatonOf(parseGbnf(grammar));
      for (const text of allowed) assert.ok(accepts(automaton, text), `${JSON.stringify(text)} is refused`);
      for (const text of refused) assert.ok(!accepts(automaton, text), `${JSON.stringify(text)} is allowed`);
    });
  }

  it("that is malformed is refused with the line and column of the fault", () => {
    const faults: readonly (readonly [string, number, number])[] = [
      ["", 1, 1],
      ["root", 1, 5],
      ["root = x", 1, 6],
      ['root ::= "a', 1, 10],
      ['root ::= "a"\n  b ::= [a', 2, 9],
      ["root ::= [z-a]", 1, 11],
      ["root ::= (a", 1, 10],
      ['root ::= "\\q"', 1, 11],
      ['root ::= "\\u12"', 1, 11],
      ['root ::= "\\uD800"', 1, 11],
      ["root ::= missing", 1, 10],
      ['other ::= "a"', 1, 1],
      ['root ::= "a"\nroot ::= "b"', 2, 1],
      ['root ::= "a"{', 1, 14],
      ['root ::= "a"{3', 1, 13],
      ['root ::= "a"{3,1}', 1, 13],
      ["root ::= *", 1, 10],
      ["root ::= )", 1, 10],
      ["root ::= <think>", 1, 10],
      ['\r\n\r\nroot ::= "a" ]', 3, 14],
    ];
    for (const [grammar, line, column] of faults) {
      assert.throws(
        () => parseGbnf(grammar),
        (error) =>
          error instanceof StowageError &&
          error.code === "grammar_syntax" &&
          error.details.line === line &&
          error.details.column === column,
        grammar,
      );
    }
  });

  it("that goes over a limit, or allows nothing, is refused", () => {
    for (const grammar of [
      `root ::= ${"(".repeat(200)}`,
      `root ::= "a"${"*".repeat(200)}`,
      'root ::= "a"{1000001}',
      `root ::= "${"a".repeat(1 << 20)}"`,
      Array.from({ length: 20_001 }, (_, index) => `r${index} ::= "a"`).join("\n"),
    ]) {
      assert.throws(() => parseGbnf(grammar), hasCode("grammar_limit"), grammar.slice(0, 40));
    }
    for (const grammar of ['root ::= "a" root', 'root ::= a\na ::= b "x"\nb ::= a', "root ::= []"]) {
      assert.throws(() => automatonOf(parseGbnf(grammar)), hasCode("grammar_empty"), grammar);
    }
  });
});
