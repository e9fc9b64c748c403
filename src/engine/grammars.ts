import { automatonOf } from "../grammar/compile.ts";
import { Constraint, TokenGrammar } from "../grammar/constraint.ts";
import type { Grammar } from "../grammar/expression.ts";
import { parseGbnf } from "../grammar/gbnf.ts";
import { anyObjectGrammar, parseSchema, schemaGrammar } from "../grammar/schema/compile-schema.ts";
import { TokenTrie } from "../grammar/token-trie.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What generated text has to be: by a grammar in GBNF, by a JSON schema (its text), or any JSON object. */
export type TextForm = { readonly gbnf: string } | { readonly schema: string } | { readonly object: true };

/** Grammars that are kept ready, each with what it has learned; those used last. */
const kept = 8;

/** The grammars of one model's requests, compiled once for its vocabulary. */
export class Grammars {
  readonly #tokenizer: Tokenizer;
  readonly #ready = new Map<string, TokenGrammar>();
  #trie: TokenTrie | undefined;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /**
   * Holds one sequence to a form. That a first token exists is checked.
   * @throws StowageError grammar_*, schema_*
   */
  constraint(form: TextForm): Constraint {
    const constraint = new Constraint(this.#grammar(form));
    constraint.allowed();
    return constraint;
  }

  #grammar(form: TextForm): TokenGrammar {
    const key = JSON.stringify(form);
    let grammar = this.#ready.get(key);
    if (!grammar) {
      this.#trie ??= new TokenTrie(this.#tokenizer);
      grammar = new TokenGrammar(automatonOf(rulesOf(form)), this.#trie);
      if (this.#ready.size >= kept) this.#ready.delete(this.#ready.keys().next().value!);
    }
    // The last one used stands last.
    this.#ready.delete(key);
    this.#ready.set(key, grammar);
    return grammar;
  }
}

function rulesOf(form: TextForm): Grammar {
  if ("gbnf" in form) return parseGbnf(form.gbnf);
  return "schema" in form ? schemaGrammar(parseSchema(form.schema)) : anyObjectGrammar();
}
