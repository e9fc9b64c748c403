import type { Random } from "../workload/random.ts";
import { Constraint, type TokenGrammar } from "./constraint.ts";
import { hasBit } from "./token-masks.ts";

/** What soon brings a JSON text to its end, the best first. */
const closing = ['"', "}", "]", "n", "0"].map((text) => text.charCodeAt(0));

/** The tokens that a mask allows. */
export function tokensIn(mask: Uint32Array, vocabularySize: number): number[] {
  const tokens: number[] = [];
  for (let token = 0; token < vocabularySize; token++) if (hasBit(mask, token)) tokens.push(token);
  return tokens;
}

/**
 * Takes any tokens that the grammar allows, as a model without sense would, and after `wander` of them those that bring the
 * text to its end.
 * @returns the text, which is whole unless `most` tokens were not enough
 */
export function walk(
  grammar: TokenGrammar,
  random: Random,
  { wander, most }: { readonly wander: number; readonly most: number },
): { readonly text: string; readonly isWhole: boolean; readonly tokens: number[] } {
  const { trie } = grammar;
  const constraint = new Constraint(grammar);
  const bytes: Uint8Array[] = [];
  const tokens: number[] = [];
  while (tokens.length < most && !constraint.isComplete) {
    if (constraint.accepts && (tokens.length >= wander || random.next() < 0.02)) break;
    const allowed = tokensIn(constraint.mask(), trie.vocabularySize).filter((token) => trie.textOf(token));
    const token = tokens.length < wander ? any(allowed, random) : shortest(allowed, grammar, random);
    constraint.accept(token);
    tokens.push(token);
    bytes.push(trie.textOf(token)!);
  }
  const text = new TextDecoder("utf-8", { fatal: constraint.accepts }).decode(Buffer.concat(bytes));
  return { text, isWhole: constraint.accepts, tokens };
}

function any(allowed: readonly number[], random: Random): number {
  return allowed[random.integer(0, allowed.length - 1)]!;
}

function shortest(allowed: readonly number[], { trie }: TokenGrammar, random: Random): number {
  for (const byte of closing) {
    const found = allowed.find(
      (token) => trie.textOf(token)!.length === 1 && trie.textOf(token)![0] === byte,
    );
    if (found !== undefined) return found;
  }
  return any(allowed, random);
}
