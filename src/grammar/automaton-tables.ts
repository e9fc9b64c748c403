import { StowageError } from "../errors.ts";
import type { Automaton, Counter, EdgeTable } from "./automaton.ts";

/** Edges as they are made. See `EdgeTable` for `label` and `end`. */
export class Edges {
  readonly from: number[] = [];
  readonly to: number[] = [];
  readonly label: number[] = [];
  readonly end: number[] = [];

  add(from: number, to: number, label = 0, end = 0): void {
    this.from.push(from);
    this.to.push(to);
    this.label.push(label);
    this.end.push(end);
  }

  get count(): number {
    return this.from.length;
  }
}

export interface DraftCounter {
  readonly rule: number;
  readonly body: number;
  readonly least: number;
  readonly most: number;
}

/** An automaton as it was written, rule by rule. */
export interface Draft {
  readonly states: number;
  readonly root: number;
  /** By rule. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly bytes: Edges;
  readonly calls: Edges;
  readonly empty: Edges;
  readonly tokens: Edges;
  readonly free: readonly number[];
  readonly counters: readonly DraftCounter[];
}

/**
 * Drops what leads to no end, so that whatever can be begun can be finished, and orders the edges by state.
 * @throws StowageError grammar_empty
 */
export function finished(draft: Draft): Automaton {
  const { states, root, bytes } = draft;
  const productive = reachingEnds(draft, [draft.empty, bytes, draft.tokens]);
  if (!productive[draft.starts[root]!]) throw new StowageError("grammar_empty", {});
  const emptyToEnd = reachingEnds(draft, [draft.empty]);
  const nullable = Uint8Array.from(draft.starts, (start) => emptyToEnd[start]!);
  const { counters, starts } = numbered(draft, nullable);
  const { classOf, classes } = classesOf(bytes);
  const leadsOn = (edges: Edges) => (edge: number) => productive[edges.to[edge]!] === 1;
  const callLeadsOn = (edge: number) =>
    productive[draft.calls.to[edge]!] === 1 && productive[draft.starts[draft.calls.label[edge]!]!] === 1;
  const tables = {
    bytes: tableOf(bytes, states, leadsOn(bytes), (byte) => classOf[byte]!),
    calls: tableOf(draft.calls, states, callLeadsOn),
    empty: tableOf(draft.empty, states, leadsOn(draft.empty)),
    tokens: tableOf(draft.tokens, states, leadsOn(draft.tokens)),
  };
  const final = marks(states, draft.ends);
  return {
    ...{ states, rules: draft.starts.length, starts, root, nullable, final },
    onlyFinal: onlyFinals(final, tables),
    free: marks(states, draft.free),
    ...{ classOf, classes, ...tables, counters },
  };
}

/** Gives the counted states their numbers. */
function numbered(draft: Draft, nullable: Uint8Array): { counters: Counter[]; starts: Float64Array } {
  const starts = Float64Array.from(draft.starts);
  let base = draft.states;
  const counters = draft.counters.map(({ rule, body, least: asked, most }) => {
    // Where the body may be nothing, so may any number of them.
    const least = nullable[body] ? 0 : asked;
    const counter = { rule, body, base, least, most };
    starts[rule] = base;
    base += (most === Number.POSITIVE_INFINITY ? least : most) + 1;
    return counter;
  });
  return { counters, starts };
}

/** The states from which their rule can end over edges of these kinds, and calls. Backwards from the ends. */
function reachingEnds(draft: Draft, kinds: readonly Edges[]): Uint8Array {
  const reached = new Uint8Array(draft.states);
  const ruleOfStart = new Map(draft.starts.map((start, rule) => [start, rule]));
  /** By rule: states that can end once it can. */
  const waiting = new Map<number, number[]>();
  const plain = kinds.map((edges) => ({ edges, ...byKey(edges.to, draft.states) }));
  const calls = byKey(draft.calls.to, draft.states);
  const work = [...draft.ends];
  for (let state = work.pop(); state !== undefined; state = work.pop()) {
    if (reached[state]) continue;
    reached[state] = 1;
    for (const { edges, offsets, order } of plain) {
      for (let at = offsets[state]!; at < offsets[state + 1]!; at++) work.push(edges.from[order[at]!]!);
    }
    for (let at = calls.offsets[state]!; at < calls.offsets[state + 1]!; at++) {
      const edge = calls.order[at]!;
      const rule = draft.calls.label[edge]!;
      const from = draft.calls.from[edge]!;
      if (reached[draft.starts[rule]!]) work.push(from);
      else if (waiting.has(rule)) waiting.get(rule)!.push(from);
      else waiting.set(rule, [from]);
    }
    const rule = ruleOfStart.get(state);
    for (const from of (rule !== undefined && waiting.get(rule)) || []) work.push(from);
  }
  return reached;
}

/** Places bytes in classes: each begins where an edge begins, or after one ends. */
function classesOf({ label, end }: Edges): { classOf: Uint8Array; classes: number } {
  const begins = new Uint8Array(257);
  for (const byte of label) begins[byte] = 1;
  for (const byte of end) begins[byte + 1] = 1;
  const classOf = new Uint8Array(256);
  for (let byte = 1; byte < 256; byte++) classOf[byte] = classOf[byte - 1]! + begins[byte]!;
  return { classOf, classes: classOf[255]! + 1 };
}

function tableOf(
  edges: Edges,
  states: number,
  keep: (edge: number) => boolean,
  labelOf: (label: number) => number = (label) => label,
): EdgeTable {
  const { offsets, order } = byKey(edges.from, states, keep);
  return {
    offsets,
    targets: Int32Array.from(order, (edge) => edges.to[edge]!),
    labels: Int32Array.from(order, (edge) => labelOf(edges.label[edge]!)),
    ends: Int32Array.from(order, (edge) => labelOf(edges.end[edge]!)),
  };
}

/** Indices of `keys` by their value: those of value v are `order[offsets[v]]` and on, before `offsets[v + 1]`. */
function byKey(
  keys: readonly number[],
  values: number,
  keep: (index: number) => boolean = () => true,
): { offsets: Int32Array; order: Int32Array } {
  const offsets = new Int32Array(values + 1);
  keys.forEach((key, index) => {
    if (keep(index)) offsets[key + 1]!++;
  });
  for (let value = 0; value < values; value++) offsets[value + 1]! += offsets[value]!;
  const next = offsets.slice();
  const order = new Int32Array(offsets[values]!);
  keys.forEach((key, index) => {
    if (keep(index)) order[next[key]!++] = index;
  });
  return { offsets, order };
}

function marks(states: number, marked: readonly number[]): Uint8Array {
  const flags = new Uint8Array(states);
  for (const state of marked) flags[state] = 1;
  return flags;
}

type Tables = Pick<Automaton, "bytes" | "calls" | "empty" | "tokens">;

/** States from which empty edges lead to an end of the rule and to nothing that reads: found by trying, a few steps far. */
function onlyFinals(final: Uint8Array, { bytes, calls, empty, tokens }: Tables): Uint8Array {
  const reads = (state: number) =>
    [bytes, calls, tokens].some(({ offsets }) => offsets[state + 1]! > offsets[state]!);
  const only = new Uint8Array(final.length);
  for (let state = 0; state < final.length; state++) {
    let at = state;
    for (let steps = 0; steps < 8 && !reads(at); steps++) {
      const edges = empty.offsets[at + 1]! - empty.offsets[at]!;
      if (final[at] && edges === 0) {
        only[state] = 1;
        break;
      }
      if (final[at] || edges !== 1) break;
      at = empty.targets[empty.offsets[at]!]!;
    }
  }
  return only;
}
