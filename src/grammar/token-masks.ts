import { StowageError } from "../errors.ts";
import { anyControlToken } from "./automaton.ts";
import { grammarLimits } from "./limits.ts";
import type { ParseState, ParseStates } from "./parse-states.ts";
import { hasFragments, hasOthers, subtreeWords, type TokenTrie } from "./token-trie.ts";

/** Smaller subtrees are walked. */
const leastSubtree = 3;

/**
 * The tokens that a grammar allows, by where the text stands in it: a bit for each token of the vocabulary, those of word w from
 * 32 w on. A mask is made by one walk over the tree of tokens, and kept.
 *
 * Most of a vocabulary is seldom looked at. Where bytes of a kind lead a set back to itself, as within a string, a subtree
 * whose tokens have only such bytes is allowed as a whole. That does not depend on the set but for which bytes those are, so the
 * tree knows for each subtree once and for all what it is made of.
 */
export class TokenMasks {
  readonly #states: ParseStates;
  readonly #trie: TokenTrie;
  readonly #kept = new Map<ParseState, Uint32Array>();
  readonly #most: number;
  /** The set after each byte of the node that the walk is at. */
  readonly #path: ParseState[];

  constructor(states: ParseStates, trie: TokenTrie) {
    this.#states = states;
    this.#trie = trie;
    this.#most = Math.max(16, Math.floor(grammarLimits.maskBytes / (trie.vocabularySize / 8)));
    this.#path = new Array(trie.longest + 1);
  }

  /** How many masks are kept. */
  get kept(): number {
    return this.#kept.size;
  }

  /**
   * The mask of a set. It is shared: do not write to it.
   * @throws StowageError grammar_limit when the grammar is so ambiguous that making it takes too much work,
   *   grammar_vocabulary when no token may come
   */
  of(state: ParseState): Uint32Array {
    const { canonical } = state;
    const known = this.#kept.get(canonical);
    if (known) return known;
    const mask = this.#make(canonical);
    if (this.#kept.size >= this.#most) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(canonical, mask);
    return mask;
  }

  #make(start: ParseState): Uint32Array {
    const states = this.#states;
    const trie = this.#trie;
    const mask = new Uint32Array((trie.vocabularySize + 31) >> 5);
    states.beginWork();
    if (states.goesOn(start)) this.#walk(start, mask);
    for (const label of states.tokenLabels(start)) {
      if (label !== anyControlToken) setBit(mask, label);
      else for (const token of trie.controlTokens) if (!states.namedTokens.has(token)) setBit(mask, token);
    }
    if (start.accepts) for (const token of trie.endTokens) setBit(mask, token);
    if (mask.every((word) => word === 0)) throw new StowageError("grammar_vocabulary", {});
    return mask;
  }

  #walk(start: ParseState, mask: Uint32Array): void {
    const states = this.#states;
    const { bytes, depths, ends, firstToken, ownEnd, subtreeEnd, subtree, tokens } = this.#trie;
    const { classOf } = states.automaton;
    const path = this.#path;
    path[0] = start;
    for (let node = 0; node < bytes.length; ) {
      const depth = depths[node]!;
      const reached = states.stepClass(path[depth - 1]!, classOf[bytes[node]!]!);
      const end = ends[node]!;
      if (reached === null) {
        node = end;
        continue;
      }
      const next = reached.canonical;
      const isWhole = end - node > leastSubtree && this.#loopsOver(next, subtree, node * subtreeWords);
      const last = isWhole ? subtreeEnd[node]! : ownEnd[node]!;
      for (let at = firstToken[node]!; at < last; at++) setBit(mask, tokens[at]!);
      path[depth] = next;
      node = isWhole ? end : node + 1;
    }
  }

  /** Whether all bytes of a subtree lead the set back to itself. */
  #loopsOver(state: ParseState, subtree: Uint32Array, at: number): boolean {
    state.loops ??= this.#loopsOf(state);
    const { loops } = state;
    const missing =
      (subtree[at]! & ~loops[0]!) |
      (subtree[at + 1]! & ~loops[1]!) |
      (subtree[at + 2]! & ~loops[2]!) |
      (subtree[at + 3]! & ~loops[3]!) |
      (subtree[at + 4]! & ~loops[4]!);
    return missing === 0;
  }

  /** Words as those of a subtree. */
  #loopsOf(state: ParseState): Uint32Array {
    const loops = new Uint32Array(subtreeWords);
    const isLoop = (byte: number) => this.#states.step(state, byte)?.canonical === state;
    for (let byte = 0; byte < 0x80; byte++) if (isLoop(byte)) loops[byte >> 5]! |= 1 << (byte & 31);
    let everyByte = true;
    for (let byte = 0x80; byte < 0x100 && everyByte; byte++) everyByte = isLoop(byte);
    if (everyByte) loops[4] = hasOthers | hasFragments;
    else if (this.#loopsOverCharacters(state)) loops[4] = hasOthers;
    return loops;
  }

  /** Whether every character of several bytes leads the set back to itself. */
  #loopsOverCharacters(state: ParseState): boolean {
    const done = new Map<ParseState, Set<string>>();
    const returns = (
      from: ParseState | undefined,
      places: readonly (readonly [number, number])[],
    ): boolean => {
      if (!from) return false;
      if (places.length === 0) return from === state;
      const key = String(places);
      if (done.get(from)?.has(key)) return true;
      const [[low, high], ...rest] = places as [readonly [number, number], ...(readonly [number, number])[]];
      for (let byte = low; byte <= high; byte++) {
        if (!returns(this.#states.step(from, byte)?.canonical, rest)) return false;
      }
      done.set(from, (done.get(from) ?? new Set()).add(key));
      return true;
    };
    return characterForms.every((places) => returns(state, places));
  }
}

/** The UTF-8 of all characters beyond ASCII. */
const follows = [0x80, 0xbf] as const;
const characterForms: readonly (readonly (readonly [number, number])[])[] = [
  [[0xc2, 0xdf], follows],
  [[0xe0, 0xe0], [0xa0, 0xbf], follows],
  [[0xe1, 0xec], follows, follows],
  [[0xed, 0xed], [0x80, 0x9f], follows],
  [[0xee, 0xef], follows, follows],
  [[0xf0, 0xf0], [0x90, 0xbf], follows, follows],
  [[0xf1, 0xf3], follows, follows, follows],
  [[0xf4, 0xf4], [0x80, 0x8f], follows, follows],
];

function setBit(mask: Uint32Array, token: number): void {
  mask[token >> 5]! |= 1 << (token & 31);
}

export function hasBit(mask: Uint32Array, token: number): boolean {
  return (mask[token >> 5]! & (1 << (token & 31))) !== 0;
}
