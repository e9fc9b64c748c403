/** What grammars of every kind are put into before they become an automaton. Texts are Unicode; the automaton reads UTF-8. */
export type Expression =
  | { readonly kind: "text"; readonly text: string }
  /** One character of these ranges of code points, both ends included. Surrogates are never matched. */
  | { readonly kind: "characters"; readonly ranges: readonly CharacterRange[] }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "choice"; readonly options: readonly Expression[] }
  /** `most` may be Infinity. */
  | { readonly kind: "repeat"; readonly body: Expression; readonly least: number; readonly most: number }
  | { readonly kind: "rule"; readonly name: string }
  | ({ readonly kind: "machine" } & Machine)
  /** One token that is no text, by its id. */
  | { readonly kind: "token"; readonly token: number }
  /** Whatever the model says, tokens that are no text among it, as long as none of these texts is in it. */
  | { readonly kind: "free"; readonly without: readonly string[] };

export type CharacterRange = readonly [first: number, last: number];

/** A graph whose edges are expressions; `over` undefined: an edge that reads nothing. States are 0 to `states` - 1. */
export interface Machine {
  readonly states: number;
  readonly start: number;
  readonly finals: readonly number[];
  readonly edges: readonly { readonly from: number; readonly over?: Expression; readonly to: number }[];
}

/** Rules by name, and the one that all of the text is. */
export interface Grammar {
  readonly rules: ReadonlyMap<string, Expression>;
  readonly root: string;
}

export const lastCodePoint = 0x10ffff;

export const text = (value: string): Expression => ({ kind: "text", text: value });
export const sequence = (...parts: readonly Expression[]): Expression =>
  parts.length === 1 ? parts[0]! : { kind: "sequence", parts };
export const choice = (...options: readonly Expression[]): Expression =>
  options.length === 1 ? options[0]! : { kind: "choice", options };
export const repeat = (body: Expression, least: number, most: number): Expression => ({
  kind: "repeat",
  body,
  least,
  most,
});
export const optional = (body: Expression): Expression => repeat(body, 0, 1);
export const rule = (name: string): Expression => ({ kind: "rule", name });
export const characters = (...ranges: readonly CharacterRange[]): Expression => ({
  kind: "characters",
  ranges,
});
/** The empty text. */
export const nothing: Expression = { kind: "sequence", parts: [] };

/** Ranges in order, none touching another. */
export function joinRanges(ranges: readonly CharacterRange[]): CharacterRange[] {
  const joined: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = joined.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else if (first <= last) joined.push([first, last]);
  }
  return joined;
}

/** All code points that are in none of the ranges. */
export function otherRanges(ranges: readonly CharacterRange[]): CharacterRange[] {
  const others: CharacterRange[] = [];
  let next = 0;
  for (const [first, last] of joinRanges(ranges)) {
    if (first > next) others.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= lastCodePoint) others.push([next, lastCodePoint]);
  return others;
}

/** What is in both; each has to be in order, none touching another. */
export function commonRanges(a: readonly CharacterRange[], b: readonly CharacterRange[]): CharacterRange[] {
  const common: CharacterRange[] = [];
  for (let inA = 0, inB = 0; inA < a.length && inB < b.length; ) {
    const first = Math.max(a[inA]![0], b[inB]![0]);
    const last = Math.min(a[inA]![1], b[inB]![1]);
    if (first <= last) common.push([first, last]);
    if (a[inA]![1] < b[inB]![1]) inA++;
    else inB++;
  }
  return common;
}
