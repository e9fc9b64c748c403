import { StowageError } from "../errors.ts";
import { type Automaton, anyControlToken, type Counter } from "./automaton.ts";
import { grammarLimits } from "./limits.ts";

/**
 * Where a text stands in a grammar: the set of all ways to read it so far, after Earley (1970). A way is an item: a state of
 * the automaton, the rule that its end completes, and the set in which that rule began. Sets with the same items are one
 * object, made once, with their steps remembered: what repeats in a text costs a look-up a byte. Nothing here recurses, and
 * items that would be equal are one, so left recursion, ambiguity and empty loops end.
 */
export interface Item {
  readonly state: number;
  readonly rule: number;
  readonly origin: ParseState;
  readonly id: number;
  /** As {@link ParseState.canonical}. */
  readonly canonical: Item;
  /** The set in whose making it was met last. */
  met: number;
}

/** An item that began in the set that it is of. */
interface Begun {
  readonly state: number;
  readonly rule: number;
}

/** Who goes on when a rule that was called in a set ends. `origin` undefined: the set itself. */
interface Caller {
  readonly target: number;
  readonly rule: number;
  readonly origin: ParseState | undefined;
}

const noItems: readonly Item[] = [];

/** A set. Its owner is the {@link ParseStates} that made it. */
export class ParseState {
  readonly id: number;
  /** Items that began in earlier sets. */
  readonly items: readonly Item[];
  readonly begun: readonly Begun[];
  readonly callers: ReadonlyMap<number, readonly Caller[]>;
  /** Whether the text may end here. */
  readonly accepts: boolean;
  /** Whether the model speaks freely here. */
  readonly free: boolean;
  /**
   * The set with the same masks for every token of the vocabulary: counts that no single token can bring to an end are as
   * good as any other such count.
   */
  readonly canonical: ParseState;
  /** Items that began here, by state and rule. */
  readonly offspring = new Map<number, Item>();
  /** By byte class: which of `steps` it takes; -1 where it is not allowed. Undefined until it is asked for. */
  groupOf: Int16Array | undefined;
  /** Targets of bytes, by group: pairs of item and target state. */
  moves: (Caller[] | undefined)[] = [];
  steps: (ParseState | null | undefined)[] = [];
  /** What a mask's walk knows of it. */
  loops: Uint32Array | undefined;

  constructor(parts: {
    id: number;
    items: readonly Item[];
    begun: readonly Begun[];
    callers: ReadonlyMap<number, readonly Caller[]>;
    accepts: boolean;
    free: boolean;
    canonical: ParseState | undefined;
  }) {
    this.id = parts.id;
    this.items = parts.items;
    this.begun = parts.begun;
    this.callers = parts.callers;
    this.accepts = parts.accepts;
    this.free = parts.free;
    this.canonical = parts.canonical ?? this;
  }
}

/** Makes and keeps the sets of one grammar. */
export class ParseStates {
  readonly automaton: Automaton;
  readonly start: ParseState;
  /** Tokens that are no text and that the grammar asks for by their id; where any may come, these may not. */
  readonly namedTokens: ReadonlySet<number>;
  /** Before everything: the root's end completes into it. */
  readonly #outside: ParseState;
  readonly #longestToken: number;
  readonly #known = new Map<string, ParseState>();
  #ids = 1;
  #work = 0;

  /** @param longestToken bytes of the longest token that masks are made for; see `ParseState.canonical` */
  constructor(automaton: Automaton, longestToken: number) {
    this.automaton = automaton;
    this.#longestToken = longestToken;
    this.#outside = new ParseState({
      ...{ id: 0, items: noItems, begun: [], callers: new Map(), accepts: false, free: false },
      canonical: undefined,
    });
    this.namedTokens = new Set(automaton.tokens.labels.filter((label) => label !== anyControlToken));
    const root = automaton.starts[automaton.root]!;
    this.start = this.#close([this.#item(root, automaton.root, this.#outside)]);
  }

  /** Begins to count work anew: what follows may take as much as the limit. */
  beginWork(): void {
    this.#work = 0;
    if (this.#known.size > grammarLimits.keptSets) this.#forget();
  }

  /**
   * The set after one more byte; null where the grammar does not allow it.
   * @throws StowageError grammar_limit
   */
  step(from: ParseState, byte: number): ParseState | null {
    return this.stepClass(from, this.automaton.classOf[byte]!);
  }

  stepClass(from: ParseState, byteClass: number): ParseState | null {
    const group = (from.groupOf ?? this.#prepare(from))[byteClass]!;
    if (group < 0) return null;
    const known = from.steps[group];
    if (known !== undefined) return known;
    const seeds = from.moves[group]!.map(({ target, rule, origin }) =>
      this.#item(target, rule, origin ?? from),
    );
    const next = this.#close(seeds);
    from.steps[group] = next;
    return next;
  }

  /** The set after a token that is no text; null where the grammar does not allow it. */
  stepToken(from: ParseState, token: number): ParseState | null {
    const { offsets, labels, targets } = this.automaton.tokens;
    const label = this.namedTokens.has(token) ? token : anyControlToken;
    const seeds: Item[] = [];
    const add = (state: number, rule: number, origin: ParseState) => {
      if (state >= this.automaton.states) return;
      for (let at = offsets[state]!; at < offsets[state + 1]!; at++) {
        if (labels[at] === label) seeds.push(this.#item(targets[at]!, rule, origin));
      }
    };
    for (const { state, rule, origin } of from.items) add(state, rule, origin);
    for (const { state, rule } of from.begun) add(state, rule, from);
    return seeds.length === 0 ? null : this.#close(seeds);
  }

  /** Tokens that are no text and may come, as the labels of their edges. */
  tokenLabels(from: ParseState): number[] {
    const { offsets, labels } = this.automaton.tokens;
    const found: number[] = [];
    for (const { state } of [...from.items, ...from.begun]) {
      if (state >= this.automaton.states) continue;
      for (let at = offsets[state]!; at < offsets[state + 1]!; at++) found.push(labels[at]!);
    }
    return found;
  }

  /** Whether anything but the end may come. */
  goesOn(state: ParseState): boolean {
    if (!state.groupOf) this.#prepare(state);
    return state.moves.length > 0 || this.tokenLabels(state).length > 0;
  }

  /** Groups the bytes by where they lead. */
  #prepare(set: ParseState): Int16Array {
    const { states, bytes, classes } = this.automaton;
    const { offsets, targets, labels, ends } = bytes;
    const byClass: (Caller[] | undefined)[] = new Array(classes);
    const keys: string[] = new Array(classes).fill("");
    let moveNumber = 0;
    const add = (state: number, rule: number, origin: ParseState | undefined) => {
      if (state >= states) return;
      for (let at = offsets[state]!; at < offsets[state + 1]!; at++) {
        const move = { target: targets[at]!, rule, origin };
        const name = `${moveNumber++},`;
        for (let byteClass = labels[at]!; byteClass <= ends[at]!; byteClass++) {
          byClass[byteClass] ??= [];
          byClass[byteClass]!.push(move);
          keys[byteClass] += name;
          this.#count(1);
        }
      }
    };
    for (const { state, rule, origin } of set.items) add(state, rule, origin);
    for (const { state, rule } of set.begun) add(state, rule, undefined);
    const groups = new Map<string, number>();
    const groupOf = new Int16Array(classes).fill(-1);
    set.moves = [];
    set.steps = [];
    for (let byteClass = 0; byteClass < classes; byteClass++) {
      const moves = byClass[byteClass];
      if (!moves) continue;
      let group = groups.get(keys[byteClass]!);
      if (group === undefined) {
        group = set.moves.push(moves) - 1;
        set.steps.push(undefined);
        groups.set(keys[byteClass]!, group);
      }
      groupOf[byteClass] = group;
    }
    set.groupOf = groupOf;
    return groupOf;
  }

  /**
   * The set of these items and of all that follows from them without a byte: rules that are called begin, and rules that
   * end complete what called them.
   */
  #close(seeds: readonly Item[], canonical?: { readonly accepts: boolean }): ParseState {
    const { automaton } = this;
    const { states, starts, rules, nullable, final, onlyFinal, free, bytes, calls, empty, tokens } =
      automaton;
    const stamp = this.#ids++;
    const items: Item[] = [];
    const begun: Begun[] = [];
    const callers = new Map<number, Caller[]>();
    const begunKeys = new Set<number>();
    const completed = new Map<ParseState, Set<number>>();
    let accepts = canonical?.accepts ?? false;
    let isFree = false;
    // Work that is left: items, or with no origin what begins here.
    const work: { state: number; rule: number; item: Item | undefined }[] = [];

    const push = (state: number, rule: number, origin: ParseState | undefined) => {
      this.#count(1);
      if (origin === undefined) {
        const key = state * rules + rule;
        if (begunKeys.has(key)) return;
        begunKeys.add(key);
        work.push({ state, rule, item: undefined });
        return;
      }
      const exact = this.#item(state, rule, origin);
      const item = canonical ? exact.canonical : exact;
      if (item.met === stamp) return;
      item.met = stamp;
      work.push({ state: item.state, rule, item });
    };
    const complete = (rule: number, origin: ParseState) => {
      if (origin === this.#outside) {
        accepts = true;
        return;
      }
      const done = completed.get(origin) ?? new Set();
      if (done.has(rule)) return;
      completed.set(origin, done.add(rule));
      for (const caller of origin.callers.get(rule) ?? []) {
        push(caller.target, caller.rule, caller.origin ?? origin);
      }
    };
    const call = (called: number, target: number, rule: number, origin: ParseState | undefined) => {
      // Counts need not go up for nothing: where the body may be nothing, they may end at any time.
      if (nullable[called] && target < states) push(target, rule, origin);
      // What ends as soon as the called rule ends need not be come back to: so right recursion does not pile up.
      if (target < states && onlyFinal[target]) {
        push(starts[called]!, rule, origin);
        return;
      }
      const list = callers.get(called) ?? [];
      list.push({ target, rule, origin });
      callers.set(called, list);
      push(starts[called]!, called, undefined);
    };

    for (const seed of seeds) push(seed.state, seed.rule, seed.origin);
    for (let next = work.pop(); next !== undefined; next = work.pop()) {
      const { state, rule, item } = next;
      const origin = item?.origin;
      let reads: boolean;
      if (state >= states) {
        const counter = this.#counterOf(state);
        const count = state - counter.base;
        if (count >= counter.least && origin) complete(rule, origin);
        reads = count < counter.most;
        if (reads) {
          const isOpen = counter.most === Number.POSITIVE_INFINITY && count === counter.least;
          call(counter.body, isOpen ? state : state + 1, rule, origin);
        }
      } else {
        if (final[state] && origin) complete(rule, origin);
        if (free[state]) isFree = true;
        for (let at = empty.offsets[state]!; at < empty.offsets[state + 1]!; at++) {
          push(empty.targets[at]!, rule, origin);
        }
        for (let at = calls.offsets[state]!; at < calls.offsets[state + 1]!; at++) {
          call(calls.labels[at]!, calls.targets[at]!, rule, origin);
        }
        reads =
          bytes.offsets[state + 1]! > bytes.offsets[state]! ||
          calls.offsets[state + 1]! > calls.offsets[state]! ||
          tokens.offsets[state + 1]! > tokens.offsets[state]!;
      }
      if (!reads) continue;
      if (item) items.push(item);
      else begun.push({ state, rule });
      if (items.length + begun.length > grammarLimits.items) {
        throw new StowageError("grammar_limit", {
          what: "ways to read the text",
          found: "more",
          limit: grammarLimits.items,
        });
      }
    }
    return this.#kept(items, begun, callers, accepts, isFree);
  }

  /** The set that is known by these items, or a new one. */
  #kept(
    items: Item[],
    begun: Begun[],
    callers: Map<number, Caller[]>,
    accepts: boolean,
    free: boolean,
  ): ParseState {
    items.sort((a, b) => a.id - b.id);
    let key = accepts ? "+" : "";
    for (const { id } of items) key += `${id},`;
    const known = this.#known.get(key);
    if (known) return known;
    const canonical = items.every((item) => item.canonical === item)
      ? undefined
      : this.#close([...new Set(items.map((item) => item.canonical))], { accepts });
    const set = new ParseState({ id: this.#ids++, items, begun, callers, accepts, free, canonical });
    this.#known.set(key, set);
    return set;
  }

  #item(state: number, rule: number, origin: ParseState): Item {
    const key = state * this.automaton.rules + rule;
    const known = origin.offspring.get(key);
    if (known) return known;
    const from = origin.canonical;
    const likeState = state < this.automaton.states ? state : this.#canonicalCount(state);
    const isCanonical = from === origin && likeState === state;
    const item = { state, rule, origin, id: this.#ids++, met: 0 } as { -readonly [K in keyof Item]: Item[K] };
    item.canonical = isCanonical ? item : this.#item(likeState, rule, from);
    origin.offspring.set(key, item);
    return item;
  }

  /** A count that a token can bring neither to its least nor to its most stands for all of its kind. */
  #canonicalCount(state: number): number {
    const { base, least, most } = this.#counterOf(state);
    const count = state - base;
    if (count < least) return least - count > this.#longestToken ? base : state;
    return most - count > this.#longestToken ? base + least : state;
  }

  #counterOf(state: number): Counter {
    const { counters } = this.automaton;
    let low = 0;
    let high = counters.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (counters[middle]!.base <= state) low = middle;
      else high = middle - 1;
    }
    return counters[low]!;
  }

  #count(work: number): void {
    this.#work += work;
    if (this.#work > grammarLimits.work) {
      throw new StowageError("grammar_limit", {
        what: "the work for one token",
        found: "more",
        limit: grammarLimits.work,
      });
    }
  }

  /** Lets go of all sets but those that somebody holds, and of what those remember. */
  #forget(): void {
    for (const set of this.#known.values()) {
      set.offspring.clear();
      set.groupOf = undefined;
      set.moves = [];
      set.steps = [];
      set.loops = undefined;
    }
    this.#known.clear();
  }
}
