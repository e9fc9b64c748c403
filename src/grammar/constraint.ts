import { StowageError } from "../errors.ts";
import type { Automaton } from "./automaton.ts";
import { type ParseState, ParseStates } from "./parse-states.ts";
import { TokenMasks } from "./token-masks.ts";
import type { TokenTrie } from "./token-trie.ts";

/** A grammar made ready for a vocabulary; sequences share it. */
export class TokenGrammar {
  readonly states: ParseStates;
  readonly masks: TokenMasks;
  readonly trie: TokenTrie;

  constructor(automaton: Automaton, trie: TokenTrie) {
    this.trie = trie;
    this.states = new ParseStates(automaton, trie.longest);
    this.masks = new TokenMasks(this.states, trie);
  }
}

/** Holds one sequence to a grammar: says before each token which ones may come, and is told which one came. */
export class Constraint {
  readonly #grammar: TokenGrammar;
  #state: ParseState;

  constructor(grammar: TokenGrammar) {
    this.#grammar = grammar;
    this.#state = grammar.states.start;
  }

  /** Whether the text may end here; only then may a token come that ends the generation. */
  get accepts(): boolean {
    return this.#state.accepts;
  }

  /** Whether the text is one that nothing can be added to. */
  get isComplete(): boolean {
    return this.#state.accepts && !this.#grammar.states.goesOn(this.#state);
  }

  /** Tokens that are no text and that the grammar asks for. */
  get namedTokens(): ReadonlySet<number> {
    return this.#grammar.states.namedTokens;
  }

  /** Whether the model speaks freely here: every token may come, as far as no text begins that the grammar reads. */
  get isFree(): boolean {
    return this.#state.free;
  }

  /**
   * A bit for each token that may come next, 32 a word. Shared: do not write to it.
   * @throws StowageError grammar_vocabulary when there is none, grammar_limit when the grammar is too ambiguous
   */
  allowed(): Uint32Array {
    return this.#grammar.masks.of(this.#state);
  }

  /**
   * Sets the logits of all tokens that may not come next to -Infinity.
   * @throws StowageError as {@link Constraint.allowed}
   */
  mask(logits: Float32Array): void {
    const allowed = this.allowed();
    // Rows that a model has beyond its vocabulary.
    logits.fill(Number.NEGATIVE_INFINITY, this.#grammar.trie.vocabularySize);
    for (let word = 0; word < allowed.length; word++) {
      const base = word << 5;
      let refused = ~allowed[word]!;
      if (refused === -1) logits.fill(Number.NEGATIVE_INFINITY, base, base + 32);
      else {
        while (refused !== 0) {
          const bit = 31 - Math.clz32(refused);
          logits[base + bit] = Number.NEGATIVE_INFINITY;
          refused ^= 1 << bit;
        }
      }
    }
  }

  /**
   * Goes on by a token that became part of the sequence.
   * @throws StowageError grammar_token when it may not come here
   */
  accept(token: number): void {
    const next = this.#after(token);
    if (!next) throw new StowageError("grammar_token", { token });
    this.#state = next;
  }

  #after(token: number): ParseState | null {
    const { states, trie } = this.#grammar;
    states.beginWork();
    const bytes = trie.textOf(token);
    if (bytes) {
      let state: ParseState | null = this.#state;
      for (let at = 0; at < bytes.length && state; at++) state = states.step(state, bytes[at]!);
      return state;
    }
    if (trie.endTokens.includes(token)) return this.#state.accepts ? this.#state : null;
    return states.stepToken(this.#state, token);
  }
}
