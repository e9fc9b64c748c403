import { StowageError } from "../errors.ts";
import { type Automaton, anyControlToken } from "./automaton.ts";
import { type DraftCounter, Edges, finished } from "./automaton-tables.ts";
import type { CharacterRange, Expression, Machine } from "./expression.ts";
import { joinRanges } from "./expression.ts";
import { freeMachine } from "./free-text.ts";
import { grammarLimits } from "./limits.ts";
import { type ByteRange, utf8Sequences } from "./utf8-ranges.ts";

/** Repetitions of so few states in all are written out; more are counted. */
const writtenOut = 24;

/** Writes the automaton of a grammar, rule by rule. */
export class Builder {
  readonly #names = new Map<string, number>();
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #bytes = new Edges();
  readonly #calls = new Edges();
  readonly #empty = new Edges();
  readonly #tokens = new Edges();
  readonly #free: number[] = [];
  readonly #counters: DraftCounter[] = [];
  #states = 0;

  declare(name: string): void {
    this.#names.set(name, this.#newRule());
  }

  define(name: string, body: Expression): void {
    const index = this.#names.get(name)!;
    this.#add(body, this.#starts[index]!, this.#ends[index]!);
  }

  #newRule(): number {
    this.#starts.push(this.#state());
    this.#ends.push(this.#state());
    return this.#starts.length - 1;
  }

  #state(): number {
    if (this.#states >= grammarLimits.states) throw tooLarge("the states of its automaton", "states");
    return this.#states++;
  }

  /** Makes all ways from one state to another read the expression. */
  #add(expression: Expression, from: number, to: number): void {
    this.#checkEdges();
    switch (expression.kind) {
      case "text":
        this.#addBytes(Buffer.from(expression.text), from, to);
        break;
      case "characters":
        this.#addCharacters(expression.ranges, from, to);
        break;
      case "sequence":
        this.#addSequence(expression.parts, from, to);
        break;
      case "choice":
        for (const option of expression.options) this.#add(option, from, to);
        break;
      case "repeat":
        this.#addRepeat(expression.body, expression.least, expression.most, from, to);
        break;
      case "rule":
        this.#calls.add(from, to, this.#names.get(expression.name)!);
        break;
      case "machine":
        this.#addMachine(expression, from, to);
        break;
      case "token":
        this.#tokens.add(from, to, expression.token);
        break;
      case "free":
        this.#addFree(expression.without, from, to);
    }
  }

  #addBytes(bytes: Uint8Array, from: number, to: number): void {
    if (bytes.length === 0) this.#empty.add(from, to);
    let at = from;
    bytes.forEach((byte, index) => {
      const next = index === bytes.length - 1 ? to : this.#state();
      this.#bytes.add(at, next, byte, byte);
      at = next;
    });
  }

  /** Sequences share their ends. */
  #addCharacters(ranges: readonly CharacterRange[], from: number, to: number): void {
    const before = new Map<string, number>();
    for (const range of joinRanges(ranges)) {
      for (const places of utf8Sequences(range)) {
        let next = to;
        for (const place of places.slice(1).reverse()) next = this.#stateBefore(place, next, before);
        const [low, high] = places[0]!;
        this.#bytes.add(from, next, low, high);
      }
    }
  }

  #stateBefore([low, high]: ByteRange, next: number, known: Map<string, number>): number {
    const key = `${low} ${high} ${next}`;
    let state = known.get(key);
    if (state === undefined) {
      state = this.#state();
      this.#bytes.add(state, next, low, high);
      known.set(key, state);
    }
    return state;
  }

  #addSequence(parts: readonly Expression[], from: number, to: number): void {
    if (parts.length === 0) this.#empty.add(from, to);
    let at = from;
    parts.forEach((part, index) => {
      const next = index === parts.length - 1 ? to : this.#state();
      this.#add(part, at, next);
      at = next;
    });
  }

  #addRepeat(body: Expression, least: number, most: number, from: number, to: number): void {
    const isOpen = most === Number.POSITIVE_INFINITY;
    const copies = isOpen ? least : most;
    if (most === 0) this.#empty.add(from, to);
    else if (isOpen && least <= 1) this.#addLoop(body, least === 0, from, to);
    else if (copies * weightOf(body) > writtenOut && copies > 1)
      this.#addCounter(body, least, most, from, to);
    else this.#addCopies(body, least, most, from, to);
  }

  #addCopies(body: Expression, least: number, most: number, from: number, to: number): void {
    const isOpen = most === Number.POSITIVE_INFINITY;
    let at = from;
    for (let copy = 0; copy < (isOpen ? least : most); copy++) {
      if (copy >= least) this.#empty.add(at, to);
      const next = this.#state();
      // Its own states, so that a loop in the body cannot go back to where it was left out.
      this.#add(body, this.#after(at), next);
      at = next;
    }
    if (isOpen) this.#addLoop(body, true, at, to);
    else this.#empty.add(at, to);
  }

  #after(state: number): number {
    const next = this.#state();
    this.#empty.add(state, next);
    return next;
  }

  #addLoop(body: Expression, mayBeNone: boolean, from: number, to: number): void {
    const head = this.#after(from);
    const tail = this.#state();
    this.#add(body, head, tail);
    this.#empty.add(tail, head);
    this.#empty.add(mayBeNone ? head : tail, to);
  }

  #addCounter(body: Expression, least: number, most: number, from: number, to: number): void {
    let called: number;
    if (body.kind === "rule") called = this.#names.get(body.name)!;
    else {
      called = this.#newRule();
      this.#add(body, this.#starts[called]!, this.#ends[called]!);
    }
    const counter = this.#newRule();
    // For the analysis: the states that count need no edges.
    this.#calls.add(this.#starts[counter]!, this.#ends[counter]!, called);
    if (least === 0) this.#empty.add(this.#starts[counter]!, this.#ends[counter]!);
    this.#counters.push({ rule: counter, body: called, least, most });
    this.#calls.add(from, to, counter);
  }

  #addMachine({ states, start, finals, edges }: Machine, from: number, to: number): void {
    const own = Array.from({ length: states }, () => this.#state());
    this.#empty.add(from, own[start]!);
    for (const state of finals) this.#empty.add(own[state]!, to);
    for (const edge of edges) {
      if (edge.over) this.#add(edge.over, own[edge.from]!, own[edge.to]!);
      else this.#empty.add(own[edge.from]!, own[edge.to]!);
    }
  }

  /** Any bytes, whole characters or not: what a model says freely is not read. */
  #addFree(without: readonly string[], from: number, to: number): void {
    const { states, edges } = freeMachine(without.map((text) => Buffer.from(text)));
    const own = Array.from({ length: states }, () => this.#state());
    this.#empty.add(from, own[0]!);
    for (const { from, low, high, to } of edges) this.#bytes.add(own[from]!, own[to]!, low, high);
    for (const state of own) {
      this.#empty.add(state, to);
      this.#tokens.add(state, own[0]!, anyControlToken);
      this.#free.push(state);
    }
  }

  #checkEdges(): void {
    const edges = this.#bytes.count + this.#calls.count + this.#empty.count;
    if (edges > grammarLimits.edges) throw tooLarge("the edges of its automaton", "edges");
  }

  /** @throws StowageError grammar_limit, grammar_empty */
  finish(root: string): Automaton {
    this.#checkEdges();
    return finished({
      states: this.#states,
      root: this.#names.get(root)!,
      starts: this.#starts,
      ends: this.#ends,
      bytes: this.#bytes,
      calls: this.#calls,
      empty: this.#empty,
      tokens: this.#tokens,
      free: this.#free,
      counters: this.#counters,
    });
  }
}

/** Edges that writing it out would take, about. */
function weightOf(expression: Expression): number {
  switch (expression.kind) {
    case "text":
      return Buffer.byteLength(expression.text);
    case "characters":
      return expression.ranges.every(([, last]) => last < 0x80) ? 1 : 8;
    case "sequence":
      return expression.parts.reduce((sum, part) => sum + weightOf(part), 0);
    case "choice":
      return expression.options.reduce((sum, option) => sum + weightOf(option), 0);
    case "repeat":
      return weightOf(expression.body) * Math.min(expression.most, Math.max(1, expression.least));
    case "rule":
    case "token":
      return 1;
    default:
      return writtenOut + 1;
  }
}

function tooLarge(what: string, limit: "states" | "edges"): StowageError {
  return new StowageError("grammar_limit", { what, found: "more", limit: grammarLimits[limit] });
}
