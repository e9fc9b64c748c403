import type { Automaton } from "./automaton.ts";
import { Builder } from "./automaton-builder.ts";
import type { Grammar } from "./expression.ts";

/**
 * The automaton of a grammar.
 * @throws StowageError grammar_limit when it would be too large, grammar_empty when there is no text that it allows
 */
export function automatonOf(grammar: Grammar): Automaton {
  const builder = new Builder();
  for (const name of grammar.rules.keys()) builder.declare(name);
  for (const [name, body] of grammar.rules) builder.define(name, body);
  return builder.finish(grammar.root);
}
