import {
  type CharacterRange,
  choice,
  commonRanges,
  type Expression,
  joinRanges,
  lastCodePoint,
  type Machine,
  otherRanges,
} from "../expression.ts";
import { characterText } from "./json-text.ts";
import { tooMuch } from "./schema-parts.ts";

/**
 * A set of texts as an automaton over characters, not deterministic, without edges that read nothing. It begins in state 0. So
 * sets can be cut with each other, which expressions cannot.
 */
export interface Language {
  readonly finals: readonly boolean[];
  readonly edges: readonly (readonly Edge[])[];
}

interface Edge {
  readonly ranges: readonly CharacterRange[];
  readonly to: number;
}

/** States of one language, and edges of it. */
const mostStates = 20_000;
const mostEdges = 200_000;

/** Of an expression of texts, classes, sequences, choices and repetitions. */
export function languageOf(expression: Expression): Language {
  const builder = new Builder();
  const start = builder.state();
  const end = builder.state();
  builder.add(expression, start, end);
  return builder.finish(start, end);
}

class Builder {
  readonly #edges: Edge[][] = [];
  readonly #empty: number[][] = [];
  #count = 0;

  state(): number {
    if (this.#edges.length >= mostStates) throw tooMuch("the states of a pattern", mostStates);
    this.#empty.push([]);
    return this.#edges.push([]) - 1;
  }

  add(expression: Expression, from: number, to: number): void {
    if (++this.#count > mostEdges) throw tooMuch("the edges of a pattern", mostEdges);
    switch (expression.kind) {
      case "characters":
        this.#edges[from]!.push({ ranges: joinRanges(expression.ranges), to });
        return;
      case "text":
        this.#sequence(
          [...expression.text].map((one) => {
            const code = one.codePointAt(0)!;
            return { kind: "characters", ranges: [[code, code]] } as const;
          }),
          from,
          to,
        );
        return;
      case "sequence":
        this.#sequence(expression.parts, from, to);
        return;
      case "choice":
        for (const option of expression.options) this.add(option, from, to);
        return;
      case "repeat":
        this.#repeat(expression.body, expression.least, expression.most, from, to);
        return;
      default:
        throw new Error(`a ${expression.kind} is no part of a pattern`);
    }
  }

  #sequence(parts: readonly Expression[], from: number, to: number): void {
    let at = from;
    for (const part of parts) {
      const next = this.state();
      this.add(part, at, next);
      at = next;
    }
    this.#empty[at]!.push(to);
  }

  #repeat(body: Expression, least: number, most: number, from: number, to: number): void {
    let at = from;
    const isOpen = most === Number.POSITIVE_INFINITY;
    for (let copy = 0; copy < (isOpen ? least : most); copy++) {
      if (copy >= least) this.#empty[at]!.push(to);
      const [own, next] = [this.state(), this.state()];
      this.#empty[at]!.push(own);
      this.add(body, own, next);
      at = next;
    }
    if (isOpen) {
      const [head, tail] = [this.state(), this.state()];
      this.#empty[at]!.push(head);
      this.add(body, head, tail);
      this.#empty[tail]!.push(head);
      at = head;
    }
    this.#empty[at]!.push(to);
  }

  /** Takes the edges out that read nothing, and what cannot be reached. */
  finish(start: number, end: number): Language {
    const number = new Map([[start, 0]]);
    const finals: boolean[] = [];
    const edges: Edge[][] = [];
    for (const [state, index] of number) {
      const reached = new Set([state]);
      for (const one of reached) for (const next of this.#empty[one]!) reached.add(next);
      finals[index] = reached.has(end);
      edges[index] = [...reached].flatMap((one) =>
        this.#edges[one]!.map(({ ranges, to }) => {
          if (!number.has(to)) number.set(to, number.size);
          return { ranges, to: number.get(to)! };
        }),
      );
      this.#count += edges[index].length + reached.size;
      if (this.#count > mostEdges) throw tooMuch("the edges of a pattern", mostEdges);
    }
    return { finals, edges };
  }
}

/** The texts that are in both. */
export function intersection(a: Language, b: Language): Language {
  return product(a, b, (inA, inB) => inA && inB);
}

/** The texts of `a` that are none of these. */
export function without(a: Language, texts: readonly string[]): Language {
  const edges: Edge[][] = [[]];
  const finals = [true];
  const rest = () => 1;
  // State 1: no text begins so.
  edges.push([{ ranges: [[0, lastCodePoint]], to: 1 }]);
  finals.push(true);
  for (const text of texts) {
    let state = 0;
    for (const character of text) {
      const code = character.codePointAt(0)!;
      let to = edges[state]!.find(({ ranges }) => ranges[0]![0] === code)?.to;
      if (to === undefined) {
        to = edges.push([]) - 1;
        finals.push(true);
        edges[state]!.push({ ranges: [[code, code]], to });
      }
      state = to;
    }
    finals[state] = false;
  }
  const complete = edges.map((own, state) =>
    state === 1 ? own : [...own, { ranges: otherRanges(own.flatMap(({ ranges }) => ranges)), to: rest() }],
  );
  return intersection(a, { finals, edges: complete });
}

/** The texts of `a` that are not in `b`. */
export function difference(a: Language, b: Language): Language {
  return product(a, deterministic(b), (inA, inB) => inA && !inB);
}

/** The texts of `a` with so many characters. */
export function ofLength(a: Language, least: number, most: number): Language {
  const count = most === Number.POSITIVE_INFINITY ? least : most;
  if (count * a.edges.length > mostStates)
    throw tooMuch("the states of a pattern with its lengths", mostStates);
  const any: CharacterRange[] = [[0, lastCodePoint]];
  const edges = Array.from({ length: count + 1 }, (_, index): Edge[] => {
    if (index < count) return [{ ranges: any, to: index + 1 }];
    return most === Number.POSITIVE_INFINITY ? [{ ranges: any, to: index }] : [];
  });
  return intersection(a, { finals: edges.map((_, index) => index >= least), edges });
}

export function hasText({ finals, edges }: Language, text: string): boolean {
  let states = new Set([0]);
  for (const character of text) {
    const code = character.codePointAt(0)!;
    const isRead = ({ ranges }: Edge) => ranges.some(([first, last]) => first <= code && code <= last);
    states = new Set([...states].flatMap((state) => edges[state]!.filter(isRead).map(({ to }) => to)));
  }
  return [...states].some((state) => finals[state]);
}

export function isEmpty({ finals, edges }: Language): boolean {
  const reached = new Set([0]);
  for (const state of reached) for (const { to } of edges[state]!) reached.add(to);
  return ![...reached].some((state) => finals[state]);
}

/** Whether all of its texts have from `least` to `most` characters, as far as that is seen at once. */
export function hasLength({ finals, edges }: Language, least: number, most: number): boolean {
  let states = new Set([0]);
  for (let length = 0; length <= Math.min(most, edges.length); length++) {
    if (length < least && [...states].some((state) => finals[state])) return false;
    states = new Set([...states].flatMap((state) => edges[state]!.map(({ to }) => to)));
    if (states.size === 0) return true;
  }
  return most === Number.POSITIVE_INFINITY && least <= edges.length;
}

/** As it stands in a JSON string, without the quotes. */
export function machineText(language: Language): Machine & { kind: "machine" } {
  return {
    kind: "machine",
    states: language.edges.length,
    start: 0,
    finals: language.finals.flatMap((isFinal, state) => (isFinal ? [state] : [])),
    edges: language.edges.flatMap((own, from) =>
      own.map(({ ranges, to }) => ({
        from,
        over: ranges.length === 0 ? choice() : characterText(ranges),
        to,
      })),
    ),
  };
}

function product(a: Language, b: Language, isFinal: (inA: boolean, inB: boolean) => boolean): Language {
  const number = new Map<string, number>([["0 0", 0]]);
  const pairs: [number, number][] = [[0, 0]];
  const finals: boolean[] = [];
  const edges: Edge[][] = [];
  let count = 0;
  for (let index = 0; index < pairs.length; index++) {
    const [stateA, stateB] = pairs[index]!;
    finals[index] = isFinal(a.finals[stateA]!, b.finals[stateB]!);
    edges[index] = [];
    for (const edgeA of a.edges[stateA]!) {
      for (const edgeB of b.edges[stateB]!) {
        if (++count > mostEdges) throw tooMuch("the edges of patterns that hold together", mostEdges);
        const ranges = commonRanges(edgeA.ranges, edgeB.ranges);
        if (ranges.length === 0) continue;
        const key = `${edgeA.to} ${edgeB.to}`;
        if (!number.has(key)) number.set(key, pairs.push([edgeA.to, edgeB.to]) - 1);
        if (pairs.length > mostStates) throw tooMuch("the states of patterns that hold together", mostStates);
        edges[index]!.push({ ranges, to: number.get(key)! });
      }
    }
  }
  return { finals, edges };
}

/** Deterministic and complete: each state has an edge for each character, and only one. */
function deterministic({ finals, edges }: Language): Language {
  const number = new Map<string, number>([["0", 0]]);
  const sets: number[][] = [[0]];
  const result: { finals: boolean[]; edges: Edge[][] } = { finals: [], edges: [] };
  let count = 0;
  for (let index = 0; index < sets.length; index++) {
    const set = sets[index]!;
    result.finals[index] = set.some((state) => finals[state]);
    const own = set.flatMap((state) => edges[state]!);
    const cuts = [
      ...new Set([0, ...own.flatMap(({ ranges }) => ranges.flatMap(([first, last]) => [first, last + 1]))]),
    ].sort((x, y) => x - y);
    const targets = new Map<number, CharacterRange[]>();
    cuts.forEach((first, place) => {
      const last = (cuts[place + 1] ?? lastCodePoint + 1) - 1;
      if (last < first) return;
      const reached = own.filter(({ ranges }) => ranges.some(([low, high]) => low <= first && first <= high));
      count += own.length;
      if (count > mostEdges * 10)
        throw tooMuch("the work of telling what matches no pattern", mostEdges * 10);
      const next = [...new Set(reached.map(({ to }) => to))].sort((x, y) => x - y);
      const key = String(next);
      if (!number.has(key)) number.set(key, sets.push(next) - 1);
      if (sets.length > 2_000) throw tooMuch("the states of what matches no pattern", 2_000);
      const to = number.get(key)!;
      targets.set(to, [...(targets.get(to) ?? []), [first, last]]);
    });
    result.edges[index] = [...targets].map(([to, ranges]) => ({ ranges: joinRanges(ranges), to }));
  }
  return result;
}
