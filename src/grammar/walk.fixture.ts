import assert from "node:assert/strict";
import type { Random } from "../workload/random.ts";
import { Constraint, type TokenGrammar } from "./constraint.ts";
import type { ParseState, ParseStates } from "./parse-states.ts";
import { hasBit } from "./token-masks.ts";

/** The tokens that a mask allows. */
export function tokensIn(mask: Uint32Array, vocabularySize: number): number[] {
  const tokens: number[] = [];
  for (let token = 0; token < vocabularySize; token++) if (hasBit(mask, token)) tokens.push(token);
  return tokens;
}

/**
 * Takes any tokens that the grammar allows, as a model without sense would, and after `wander` of them the bytes that bring the
 * text to its end soonest. Each is checked against the mask.
 */
export function walk(grammar: TokenGrammar, random: Random, wander: number): string {
  const { trie } = grammar;
  const constraint = new Constraint(grammar);
  const bytes: Uint8Array[] = [];
  let state = grammar.states.start;
  const take = (token: number) => {
    assert.ok(hasBit(constraint.allowed(), token));
    constraint.accept(token);
    bytes.push(trie.textOf(token)!);
    for (const byte of trie.textOf(token)!) state = grammar.states.step(state, byte)!;
  };
  for (let count = 0; count < wander && !constraint.isComplete; count++) {
    if (constraint.accepts && random.next() < 0.02) break;
    const allowed = tokensIn(constraint.allowed(), trie.vocabularySize).filter((token) => trie.textOf(token));
    take(allowed[random.integer(0, allowed.length - 1)]!);
  }
  const byteTokens = new Map<number, number>();
  for (const token of trie.tokens) {
    const text = trie.textOf(token)!;
    if (text.length === 1) byteTokens.set(text[0]!, token);
  }
  const end = [0x21, 0x20, 0x0a]
    .map((least) => shortestEnd(grammar.states, state, least))
    .find((path) => path);
  assert.ok(end, "there is no end");
  for (const byte of end) take(byteTokens.get(byte)!);
  assert.ok(constraint.accepts);
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(bytes));
}

/**
 * Bytes after which the text may end, and soon: one byte of each kind from `least` on is tried, first where fewest rules are
 * open and then where fewest bytes were taken.
 */
function shortestEnd(states: ParseStates, from: ParseState, least: number): number[] | undefined {
  interface Place {
    readonly state: ParseState;
    readonly path: readonly number[];
  }
  const seen = new Set([from]);
  const queues: Place[][] = [];
  const put = (place: Place) => {
    const cost = place.path.length + 16 * openRules(place.state);
    queues[cost] ??= [];
    queues[cost].push(place);
  };
  put({ state: from, path: [] });
  states.beginWork();
  while (seen.size < 20_000) {
    const queue = queues.find((one) => one !== undefined && one.length > 0);
    if (!queue) return undefined;
    const { state, path } = queue.shift()!;
    if (state.accepts) return [...path];
    for (let byte = least; byte < 0x100; byte++) {
      const next = states.step(state, byte);
      if (!next || seen.has(next)) continue;
      seen.add(next);
      put({ state: next, path: [...path, byte] });
    }
  }
  return undefined;
}

const depths = new WeakMap<ParseState, number>();

function openRules(state: ParseState): number {
  let depth = depths.get(state);
  if (depth === undefined) {
    depth = state.items.reduce((fewest, { origin }) => Math.min(fewest, 1 + openRules(origin)), 1e6);
    if (state.items.length === 0) depth = 0;
    depths.set(state, depth);
  }
  return depth;
}
