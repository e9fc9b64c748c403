import { automatonOf } from "../grammar/compile.ts";
import { Constraint, TokenGrammar } from "../grammar/constraint.ts";
import type { Grammar } from "../grammar/expression.ts";
import { parseGbnf } from "../grammar/gbnf.ts";
import { anyObjectGrammar, parseSchema, schemaGrammar } from "../grammar/schema/compile-schema.ts";
import { TokenTrie } from "../grammar/token-trie.ts";
import { type ToolFormat, toolFormatOf } from "../grammar/tools/formats.ts";
import { type ToolUse, toolGrammar } from "../grammar/tools/tool-grammar.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What generated text has to be: by a grammar in GBNF, by a JSON schema (its text), any JSON object, or calls of tools. */
export type TextForm =
  | { readonly gbnf: string }
  | { readonly schema: string }
  | { readonly object: true }
  | ToolUse;

/** Grammars that are kept ready, each with what it has learned; those used last. */
const kept = 8;

/** The grammars of one model's requests, compiled once for its vocabulary. */
export class Grammars {
  /** How the model writes calls, by its chat template. */
  readonly toolFormat: ToolFormat;
  readonly #tokenizer: Tokenizer;
  readonly #ready = new Map<string, TokenGrammar>();
  #trie: TokenTrie | undefined;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    this.toolFormat = toolFormatOf(tokenizer.chatTemplate);
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
      grammar = new TokenGrammar(automatonOf(this.#rulesOf(form, this.#trie)), this.#trie);
      if (this.#ready.size >= kept) this.#ready.delete(this.#ready.keys().next().value!);
    }
    // The last one used stands last.
    this.#ready.delete(key);
    this.#ready.set(key, grammar);
    return grammar;
  }

  #rulesOf(form: TextForm, trie: TokenTrie): Grammar {
    if ("gbnf" in form) return parseGbnf(form.gbnf);
    if ("schema" in form) return schemaGrammar(parseSchema(form.schema));
    if ("object" in form) return anyObjectGrammar();
    const spelling = (token: number) => this.#tokenizer.decode([token], { showControl: true });
    const controls = new Map(trie.controlTokens.map((token) => [spelling(token), token]));
    return toolGrammar(form, this.toolFormat, controls);
  }
}
