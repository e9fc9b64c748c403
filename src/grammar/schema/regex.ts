import {
  type CharacterRange,
  characters,
  choice,
  type Expression,
  lastCodePoint,
  nothing,
  otherRanges,
  repeat,
  sequence,
} from "../expression.ts";
import { grammarLimits } from "../limits.ts";

/** Why a pattern cannot be translated. */
export class PatternFault extends Error {}

const digits: readonly CharacterRange[] = [[0x30, 0x39]];
const words: readonly CharacterRange[] = [...digits, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
/** White space and line ends of ECMAScript. */
const spaces: readonly CharacterRange[] = [
  [9, 13],
  [32, 32],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const lineEnds: readonly CharacterRange[] = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
const classEscapes: Readonly<Record<string, readonly CharacterRange[]>> = {
  d: digits,
  D: otherRanges(digits),
  w: words,
  W: otherRanges(words),
  s: spaces,
  S: otherRanges(spaces),
};
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

/** Any text. */
export const anyText = repeat(characters([0, lastCodePoint]), 0, Number.POSITIVE_INFINITY);

/**
 * The texts in which a regular expression of ECMAScript (with the flag `u`) is found: an expression over the characters of a
 * text. Literals, `.`, classes, groups, `|` and quantifiers are taken, and `^` and `$` at the ends; neither assertions,
 * references, nor Unicode properties.
 * @throws PatternFault
 */
export function textsWith(pattern: string): Expression {
  try {
    new RegExp(pattern, "u");
  } catch (error) {
    throw new PatternFault(error instanceof Error ? error.message : String(error));
  }
  return new PatternParser(pattern).parse();
}

/** Reads what RegExp has found to be well-formed. */
class PatternParser {
  readonly #source: string;
  #at = 0;
  #depth = 0;

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Expression {
    const options: Expression[] = [];
    do {
      const isFromStart = this.#take("^");
      const body = this.#sequence();
      const isToEnd = this.#take("$");
      if (!this.#isAt("|") && this.#at < this.#source.length) {
        throw new PatternFault("an anchor that is at neither end is not supported");
      }
      options.push(sequence(...(isFromStart ? [] : [anyText]), body, ...(isToEnd ? [] : [anyText])));
    } while (this.#take("|"));
    return choice(...options);
  }

  #isAt(text: string): boolean {
    return this.#source.startsWith(text, this.#at);
  }

  #take(text: string): boolean {
    if (!this.#isAt(text)) return false;
    this.#at += text.length;
    return true;
  }

  #group(): Expression {
    if (++this.#depth > grammarLimits.depth) throw new PatternFault("its groups are nested too deep");
    if (this.#take("?")) {
      if (!this.#take(":") && !/^<[^=!]/.test(this.#source.slice(this.#at, this.#at + 2))) {
        throw new PatternFault("looking ahead or behind is not supported");
      }
      if (this.#isAt("<")) this.#at = this.#source.indexOf(">", this.#at) + 1;
    }
    const options: Expression[] = [];
    do {
      options.push(this.#sequence());
    } while (this.#take("|"));
    if (!this.#take(")")) throw new PatternFault("an anchor within a group is not supported");
    this.#depth--;
    return choice(...options);
  }

  #sequence(): Expression {
    const parts: Expression[] = [];
    while (this.#at < this.#source.length && !/^[|)$]/.test(this.#source[this.#at]!)) {
      parts.push(this.#quantified(this.#atom()));
    }
    return parts.length === 0 ? nothing : sequence(...parts);
  }

  #atom(): Expression {
    if (this.#take("(")) return this.#group();
    if (this.#take(".")) return characters(...otherRanges(lineEnds));
    if (this.#take("[")) return characters(...this.#class());
    if (this.#isAt("^")) throw new PatternFault("an anchor that is at neither end is not supported");
    if (this.#take("\\")) return characters(...this.#escape());
    const code = this.#source.codePointAt(this.#at)!;
    this.#at += code > 0xffff ? 2 : 1;
    return characters([code, code]);
  }

  #quantified(body: Expression): Expression {
    const found = /^(?:[*+?]|\{(\d+)(,(\d*))?\})\??/.exec(this.#source.slice(this.#at, this.#at + 40));
    if (!found) return body;
    this.#at += found[0].length;
    const [sign, from, comma, to] = found;
    const infinity = Number.POSITIVE_INFINITY;
    if (from === undefined)
      return repeat(body, sign.startsWith("+") ? 1 : 0, sign.startsWith("?") ? 1 : infinity);
    const least = Number(from);
    const most = comma === undefined ? least : to === "" ? infinity : Number(to);
    if (Math.max(least, most === infinity ? 0 : most) > grammarLimits.repetitions) {
      throw new PatternFault(`more than ${grammarLimits.repetitions} repetitions are not supported`);
    }
    return repeat(body, least, most);
  }

  #class(): CharacterRange[] {
    const isNegated = this.#take("^");
    const ranges: CharacterRange[] = [];
    while (!this.#take("]")) {
      const first = this.#member();
      const isRange = this.#isAt("-") && this.#source[this.#at + 1] !== "]" && first.length === 1;
      if (isRange && first[0]![0] === first[0]![1]) {
        this.#at++;
        ranges.push([first[0]![0], this.#member()[0]![1]]);
      } else ranges.push(...first);
    }
    return isNegated ? otherRanges(ranges) : ranges;
  }

  #member(): readonly CharacterRange[] {
    if (this.#isAt("\\b")) {
      this.#at += 2;
      return [[8, 8]];
    }
    if (this.#take("\\")) return this.#escape();
    const code = this.#source.codePointAt(this.#at)!;
    this.#at += code > 0xffff ? 2 : 1;
    return [[code, code]];
  }

  #escape(): readonly CharacterRange[] {
    const letter = this.#source[this.#at++]!;
    const ranges = Object.hasOwn(classEscapes, letter) ? classEscapes[letter] : undefined;
    if (ranges) return ranges;
    const code = this.#escapedCode(letter);
    return [[code, code]];
  }

  #escapedCode(letter: string): number {
    if (Object.hasOwn(controls, letter)) return controls[letter]!;
    if (letter === "c") return this.#source.charCodeAt(this.#at++) % 32;
    if (letter === "x" || letter === "u") {
      const found = /^(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})?))/.exec(
        this.#source.slice(this.#at, this.#at + (letter === "x" ? 2 : 12)),
      )!;
      this.#at += found[0].length;
      const code = Number.parseInt(found[1] ?? found[2]!, 16);
      const low = /^\\u(d[c-f][0-9a-f]{2})/i.exec(this.#source.slice(this.#at, this.#at + 6));
      if (letter === "u" && code >= 0xd800 && code <= 0xdbff && low) {
        this.#at += 6;
        return (code - 0xd800) * 0x400 + (Number.parseInt(low[1]!, 16) - 0xdc00) + 0x10000;
      }
      return code;
    }
    if (/[\^$\\.*+?()[\]{}|/-]/.test(letter)) return letter.charCodeAt(0);
    if (letter === "b" || letter === "B") throw new PatternFault("word boundaries are not supported");
    if (letter === "p" || letter === "P") throw new PatternFault("Unicode properties are not supported");
    throw new PatternFault("references to groups are not supported");
  }
}
