import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StowageError } from "../errors.ts";
import { automatonOf } from "./compile.ts";
import { choice, type Expression, type Grammar, repeat, rule, sequence, text } from "./expression.ts";
import { ParseStates } from "./parse-states.ts";

const names = ["root", "s", "t"];

const { expression } = fc.letrec<{ expression: Expression }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(text(""), text("a"), text("b"), text("ab")),
    fc.constantFrom(...names).map(rule),
    fc.array(tie("expression"), { minLength: 1, maxLength: 3 }).map((parts) => sequence(...parts)),
    fc.array(tie("expression"), { minLength: 1, maxLength: 3 }).map((options) => choice(...options)),
    fc
      .tuple(tie("expression"), fc.constantFrom([0, 1], [0, 99], [1, 99], [2, 3], [0, 30], [3, 40], [1, 2]))
      .map(([body, [least, most]]) => repeat(body, least!, most === 99 ? Number.POSITIVE_INFINITY : most!)),
  ),
}));
const grammar: fc.Arbitrary<Grammar> = fc
  .tuple(expression, expression, expression)
  .map((bodies) => ({ rules: new Map(bodies.map((body, index) => [names[index]!, body])), root: "root" }));

/** All texts of "a" and "b" of up to so many letters. */
function allTexts(letters: number): string[] {
  let last = [""];
  const all = [...last];
  for (let length = 1; length <= letters; length++) {
    last = last.flatMap((text) => [`${text}a`, `${text}b`]);
    all.push(...last);
  }
  return all;
}

/** By definition: for each rule and place, where it may end; grown until nothing is new. */
function allowedBy({ rules }: Grammar, text: string): boolean {
  const ends = new Map<string, Set<number>>();
  const of = (name: string, at: number) => ends.get(`${name} ${at}`) ?? new Set<number>();
  const match = (expression: Expression, at: number): Set<number> => {
    switch (expression.kind) {
      case "text":
        return new Set(text.startsWith(expression.text, at) ? [at + expression.text.length] : []);
      case "sequence":
        return expression.parts.reduce((from, part) => steps(from, part), new Set([at]));
      case "choice":
        return new Set(expression.options.flatMap((option) => [...match(option, at)]));
      case "rule":
        return of(expression.name, at);
      case "repeat": {
        let from = new Set([at]);
        const found = new Set<number>(expression.least === 0 ? [at] : []);
        // The largest bound is 40, and a text has no more letters than that.
        for (let count = 1; count <= Math.min(expression.most, 41); count++) {
          from = steps(from, expression.body);
          if (count >= expression.least) for (const end of from) found.add(end);
        }
        return found;
      }
      default:
        throw new Error(expression.kind);
    }
  };
  const steps = (from: Set<number>, part: Expression) =>
    new Set([...from].flatMap((place) => [...match(part, place)]));
  for (let grown = true; grown; ) {
    grown = false;
    for (const [name, body] of rules) {
      for (let at = 0; at <= text.length; at++) {
        const found = match(body, at);
        if (found.size > of(name, at).size) {
          ends.set(`${name} ${at}`, new Set([...found, ...of(name, at)]));
          grown = true;
        }
      }
    }
  }
  return of("root", 0).has(text.length);
}

test("Any grammar allows what it allows by definition, and what it has begun it can finish", () => {
  const texts = allTexts(4);
  fc.assert(
    fc.property(grammar, (any) => {
      const allowed = new Set(texts.filter((text) => allowedBy(any, text)));
      let states: ParseStates;
      try {
        states = new ParseStates(automatonOf(any), 3);
      } catch (error) {
        assert.ok(error instanceof StowageError && error.code === "grammar_empty");
        assert.equal(allowed.size, 0);
        return;
      }
      const reached = new Map([["", states.start]]);
      for (const text of texts) {
        const state = text === "" ? states.start : reached.get(text.slice(0, -1));
        const next = text === "" || !state ? state : states.step(state, text.charCodeAt(text.length - 1));
        if (next) reached.set(text, next);
        assert.equal(next?.accepts ?? false, allowed.has(text), JSON.stringify(text));
        // The canonical set stands for it as far as three bytes go.
        if (next) assert.equal(next.canonical.accepts, next.accepts);
        if (next) assert.ok(next.accepts || states.goesOn(next));
      }
    }),
    { numRuns: 120 },
  );
});
