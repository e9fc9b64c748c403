import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { Random } from "../workload/random.ts";
import { automatonOf } from "./compile.ts";
import { Constraint, TokenGrammar } from "./constraint.ts";
import type { Grammar } from "./expression.ts";
import { parseGbnf } from "./gbnf.ts";
import type { ParseState } from "./parse-states.ts";
import { hasBit } from "./token-masks.ts";
import { TokenTrie } from "./token-trie.ts";
import { tokensIn } from "./walk.fixture.ts";

const json = String.raw`
root ::= value
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (pair ("," ws pair)*)? "}" ws
pair ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)? ws
ws ::= [ \t\n]*`;
const grammars: Readonly<Record<string, string>> = {
  JSON: json,
  "a counted text": 'root ::= "<" [^<>]{20,60} ">"',
  "words of other scripts": 'root ::= ([ぁ-ゟ]+ | [а-я]+ | [🌀-🙏]) (" " root)?',
  "arithmetic, left recursive": 'root ::= root [-+*/] term | term\nterm ::= [0-9]+ | "(" root ")"',
  "an ambiguous list": 'root ::= root "," root | [a-z ]+',
};

describe("A token mask", { skip: withoutSample }, () => {
  let tokenizer: Tokenizer;
  let trie: TokenTrie;
  before(async () => {
    tokenizer = await Tokenizer.load(samplePath);
    trie = new TokenTrie(tokenizer);
  });
  after(() => tokenizer.dispose());

  const grammarOf = (grammar: string | Grammar) =>
    new TokenGrammar(automatonOf(typeof grammar === "string" ? parseGbnf(grammar) : grammar), trie);

  /** Byte by byte, in the set as it is. */
  function allows({ states }: TokenGrammar, state: ParseState, token: number): boolean {
    if (tokenizer.isEndOfGeneration(token)) return state.accepts;
    const bytes = tokenizer.pieceBytes(token);
    if (tokenizer.isControl(token) || bytes.length === 0) return false;
    states.beginWork();
    let reached: ParseState | null = state;
    for (let at = 0; at < bytes.length && reached; at++) reached = states.step(reached, bytes[at]!);
    return reached !== null;
  }

  for (const [name, source] of Object.entries(grammars)) {
    it(`has exactly the tokens whose bytes the grammar allows: ${name}`, () => {
      const grammar = grammarOf(source);
      const random = new Random(3, source.length);
      for (let round = 0; round < 3; round++) {
        let state = grammar.states.start;
        for (let step = 0; step < 25; step++) {
          const mask = grammar.masks.of(state);
          for (let token = 0; token < tokenizer.vocabularySize; token++) {
            if (hasBit(mask, token) !== allows(grammar, state, token)) {
              assert.fail(`token ${token} ${JSON.stringify(tokenizer.decode([token]))} at step ${step}`);
            }
          }
          const texts = tokensIn(mask, tokenizer.vocabularySize).filter((token) => trie.textOf(token));
          if (texts.length === 0) break;
          for (const byte of trie.textOf(texts[random.integer(0, texts.length - 1)]!)!) {
            state = grammar.states.step(state, byte)!;
          }
        }
      }
    });
  }

  it("has the parts of a character that no single token spells", () => {
    const constraint = new Constraint(grammarOf('root ::= "🜚"'));
    const bytes: number[] = [];
    while (!constraint.isComplete) {
      const token = tokensIn(constraint.allowed(), tokenizer.vocabularySize)[0]!;
      bytes.push(...trie.textOf(token)!);
      constraint.accept(token);
    }
    assert.equal(Buffer.from(bytes).toString(), "🜚");
    assert.ok(bytes.length === 4);
  });

  it("has the end of the generation only where the text may end, and then alone", () => {
    const constraint = new Constraint(grammarOf('root ::= "a" "b"?'));
    const end = tokenizer.eos!;
    const token = (text: string) =>
      tokenizer.encode(text, { addSpecial: false, parseSpecial: false }).at(-1)!;
    assert.ok(!hasBit(constraint.allowed(), end));
    assert.throws(() => constraint.accept(end), hasCode("grammar_token"));
    constraint.accept(token("a"));
    assert.ok(hasBit(constraint.allowed(), end) && constraint.accepts && !constraint.isComplete);
    constraint.accept(token("b"));
    assert.ok(constraint.isComplete);
    const left = tokensIn(constraint.allowed(), tokenizer.vocabularySize);
    assert.ok(left.every((one) => tokenizer.isEndOfGeneration(one)) && left.includes(end));
    assert.throws(() => constraint.accept(token("b")), hasCode("grammar_token"));
  });

  it("has tokens that are no text where they are asked for, and while the model speaks freely", () => {
    const control = trie.controlTokens[0]!;
    const grammar = grammarOf({
      rules: new Map([
        [
          "root",
          {
            kind: "sequence",
            parts: [
              { kind: "free", without: ["<call>"] },
              { kind: "text", text: "<call>" },
              { kind: "token", token: control },
            ],
          },
        ],
      ]),
      root: "root",
    });
    const constraint = new Constraint(grammar);
    const say = (text: string) => {
      for (const token of tokenizer.encode(text, { addSpecial: false, parseSpecial: false })) {
        assert.ok(hasBit(constraint.allowed(), token), text);
        constraint.accept(token);
      }
    };
    assert.ok(constraint.isFree);
    assert.ok(!hasBit(constraint.allowed(), control), "one that has a meaning comes only where it has it");
    say("é free <calls <cal");
    assert.ok(constraint.isFree && !constraint.accepts);
    say("l>");
    assert.ok(!constraint.isFree);
    assert.deepEqual(tokensIn(constraint.allowed(), tokenizer.vocabularySize), [control]);
    constraint.accept(control);
    assert.ok(constraint.isComplete);

    const free = new Constraint(
      grammarOf({ rules: new Map([["root", { kind: "free", without: [] }]]), root: "root" }),
    );
    assert.ok(hasBit(free.allowed(), control));
    free.accept(control);
    assert.ok(free.isFree && free.accepts && !free.isComplete);
  });

  it("leaves the logits of allowed tokens as they are", () => {
    const constraint = new Constraint(grammarOf('root ::= [a-c]+ "."'));
    const logits = Float32Array.from({ length: tokenizer.vocabularySize }, (_, token) => token / 7);
    const masked = logits.slice();
    constraint.mask(masked);
    const allowed = constraint.allowed();
    masked.forEach((logit, token) => {
      assert.equal(logit, hasBit(allowed, token) ? logits[token] : Number.NEGATIVE_INFINITY);
    });
  });
});
