import { StowageError } from "../../errors.ts";
import {
  characters,
  choice,
  type Expression,
  type Grammar,
  optional,
  otherRanges,
  repeat,
  rule,
  sequence,
  text,
} from "../expression.ts";
import { parseSchema, schemaGrammar } from "../schema/compile-schema.ts";
import type { ToolFormat } from "./formats.ts";

/** A tool that may be called. */
export interface Tool {
  readonly name: string;
  /** The JSON schema of its arguments, as text. */
  readonly parameters: string;
}

/** What is allowed of a request's tools. */
export interface ToolUse {
  readonly tools: readonly Tool[];
  /** `auto`: text, calls, or text and then calls; `required`: calls alone. */
  readonly choice: "auto" | "required";
  /** Several calls, one after the other. */
  readonly parallel: boolean;
}

/**
 * A grammar of answers that may call tools, each with arguments that are valid by its schema.
 * @param controls tokens of the vocabulary that are no text, by their spelling
 * @throws StowageError schema_*, grammar_limit
 */
export function toolGrammar(
  use: ToolUse,
  format: ToolFormat,
  controls: ReadonlyMap<string, number>,
): Grammar {
  const rules = new Map<string, Expression>();
  const written = (words: string) => withControls(words, controls);
  const calls = use.tools.map(({ name, parameters }, index) => {
    const grammar = argumentsOf(parameters, `tool ${index} `);
    for (const [own, body] of grammar.rules) rules.set(own, body);
    return sequence(
      written(format.before),
      text(name),
      written(format.middle),
      rule(grammar.root),
      written(format.after),
    );
  });
  rules.set("call", choice(...calls));
  const more = repeat(sequence(written(format.between), rule("call")), 0, Number.POSITIVE_INFINITY);
  const isSeveral = use.parallel && !format.alone;
  rules.set(
    "calls",
    sequence(written(format.open), rule("call"), ...(isSeveral ? [more] : []), written(format.close)),
  );
  rules.set("root", use.choice === "required" ? rule("calls") : freely(format, controls));
  return { rules, root: "root" };
}

function freely({ trigger, alone }: ToolFormat, controls: ReadonlyMap<string, number>): Expression {
  if (alone) {
    const first = trigger.codePointAt(0)!;
    const other = characters(...otherRanges([[first, first]]));
    return choice(rule("calls"), optional(sequence(other, { kind: "free", without: [] })));
  }
  // Where the trigger is one token that is no text, its spelling may come as text: that begins no call.
  return sequence({ kind: "free", without: controls.has(trigger) ? [] : [trigger] }, optional(rule("calls")));
}

function argumentsOf(parameters: string, prefix: string): Grammar {
  const schema = parseSchema(parameters) as { readonly type?: unknown };
  if (schema.type !== undefined && schema.type !== "object") {
    throw new StowageError("schema_invalid", {
      where: "#/type",
      reason: 'arguments of a tool have the type "object"',
    });
  }
  return schemaGrammar({ ...schema, type: "object" }, prefix);
}

/** A text in which the spellings of control tokens are those tokens. */
function withControls(words: string, controls: ReadonlyMap<string, number>): Expression {
  const parts: Expression[] = [];
  let rest = words;
  while (rest !== "") {
    let found: { readonly at: number; readonly spelling: string; readonly token: number } | undefined;
    for (const [spelling, token] of controls) {
      const at = spelling === "" ? -1 : rest.indexOf(spelling);
      if (
        at < 0 ||
        (found && (found.at < at || (found.at === at && found.spelling.length >= spelling.length)))
      )
        continue;
      found = { at, spelling, token };
    }
    if (!found) break;
    if (found.at > 0) parts.push(text(rest.slice(0, found.at)));
    parts.push({ kind: "token", token: found.token });
    rest = rest.slice(found.at + found.spelling.length);
  }
  if (rest !== "" || parts.length === 0) parts.push(text(rest));
  return sequence(...parts);
}
