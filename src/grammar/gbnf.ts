import { StowageError } from "../errors.ts";
import {
  type CharacterRange,
  characters,
  choice,
  type Expression,
  type Grammar,
  lastCodePoint,
  nothing,
  otherRanges,
  repeat,
  rule,
  sequence,
  text,
} from "./expression.ts";
import { grammarLimits } from "./limits.ts";

/**
 * Reads a grammar in GBNF, the notation of llama.cpp: rules `name ::= …` of which `root` is all of the text; literals,
 * `[a-z]` and `[^…]`, `.`, groups, `|`, `*`, `+`, `?`, `{m}`, `{m,}`, `{m,n}`, and `#` comments. Of its newer parts, tokens
 * by name (`<…>`) are not taken.
 * @throws StowageError grammar_syntax with line and column, grammar_limit
 */
export function parseGbnf(source: string): Grammar {
  if (source.length > grammarLimits.textLength) {
    throw tooMuch("the length of its text", grammarLimits.textLength, source.length);
  }
  return new GbnfParser(source).parse();
}

const escapes: Readonly<Record<string, string>> = {
  t: "\t",
  r: "\r",
  n: "\n",
  "\\": "\\",
  '"': '"',
  "[": "[",
  "]": "]",
  "-": "-",
};
const hexDigits: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };
const unbounded: Readonly<Record<string, readonly [number, number]>> = {
  "*": [0, Number.POSITIVE_INFINITY],
  "+": [1, Number.POSITIVE_INFINITY],
  "?": [0, 1],
};

class GbnfParser {
  readonly #source: string;
  #at = 0;
  #depth = 0;
  readonly #rules = new Map<string, Expression>();
  /** Where each rule was first spoken of. */
  readonly #mentions = new Map<string, number>();

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Grammar {
    this.#space(true);
    while (this.#at < this.#source.length) this.#rule();
    for (const [name, at] of this.#mentions) {
      if (!this.#rules.has(name)) throw this.#fault(`there is no rule "${shortened(name)}"`, at);
    }
    if (!this.#rules.has("root")) throw this.#fault('there is no rule "root"', 0);
    return { rules: this.#rules, root: "root" };
  }

  #rule(): void {
    const at = this.#at;
    const name = this.#name();
    this.#space(false);
    if (!this.#source.startsWith("::=", this.#at))
      throw this.#fault('"::=" has to follow the name of a rule');
    this.#at += 3;
    this.#space(true);
    const body = this.#alternatives(false);
    if (this.#rules.has(name)) throw this.#fault(`the rule "${shortened(name)}" is there already`, at);
    this.#rules.set(name, body);
    if (this.#rules.size > grammarLimits.rules) {
      throw tooMuch("the number of rules", grammarLimits.rules);
    }
    const next = this.#source[this.#at];
    if (next !== undefined && next !== "\n" && next !== "\r") {
      throw this.#fault(`${shown(next)} cannot stand here`);
    }
    this.#space(true);
  }

  #alternatives(inGroup: boolean): Expression {
    if (++this.#depth > grammarLimits.depth) {
      throw tooMuch("groups in groups", grammarLimits.depth);
    }
    const options = [this.#sequence(inGroup)];
    while (this.#source[this.#at] === "|") {
      this.#at++;
      this.#space(true);
      options.push(this.#sequence(inGroup));
    }
    this.#depth--;
    return choice(...options);
  }

  #sequence(inGroup: boolean): Expression {
    const parts: Expression[] = [];
    for (;;) {
      const part = this.#item(inGroup);
      if (!part) return parts.length === 0 ? nothing : sequence(...parts);
      parts.push(this.#repeated(part, inGroup));
    }
  }

  /** undefined where no item begins. */
  #item(inGroup: boolean): Expression | undefined {
    const character = this.#source[this.#at];
    switch (character) {
      case '"':
        return this.#literal(inGroup);
      case "[":
        return this.#class(inGroup);
      case ".":
        this.#at++;
        this.#space(inGroup);
        return characters([0, lastCodePoint]);
      case "(": {
        const at = this.#at++;
        this.#space(true);
        const inner = this.#alternatives(true);
        if (this.#source[this.#at] !== ")") throw this.#fault('this "(" is not closed', at);
        this.#at++;
        this.#space(inGroup);
        return inner;
      }
      case "<":
      case "!":
        throw this.#fault("tokens by their name are not supported; write their text");
    }
    if (character === undefined || !isWord(character)) return undefined;
    const at = this.#at;
    const name = this.#name();
    if (!this.#mentions.has(name)) this.#mentions.set(name, at);
    this.#space(inGroup);
    return rule(name);
  }

  #literal(inGroup: boolean): Expression {
    const at = this.#at++;
    let value = "";
    while (this.#source[this.#at] !== '"') {
      if (this.#at >= this.#source.length) throw this.#fault("this literal is not closed", at);
      const from = this.#at;
      const code = this.#character();
      if (code >= 0xd800 && code <= 0xdfff) throw this.#fault("half a character cannot be matched", from);
      value += String.fromCodePoint(code);
    }
    this.#at++;
    this.#space(inGroup);
    return text(value);
  }

  #class(inGroup: boolean): Expression {
    const at = this.#at++;
    const isNegated = this.#source[this.#at] === "^";
    if (isNegated) this.#at++;
    const ranges: CharacterRange[] = [];
    while (this.#source[this.#at] !== "]") {
      if (this.#at >= this.#source.length) throw this.#fault("this class is not closed", at);
      const from = this.#at;
      const first = this.#character();
      let last = first;
      // A "-" before the end is one of the characters.
      if (this.#source[this.#at] === "-" && this.#source[this.#at + 1] !== "]") {
        this.#at++;
        if (this.#at >= this.#source.length) throw this.#fault("this class is not closed", at);
        last = this.#character();
        if (last < first) throw this.#fault("this range ends before it begins", from);
      }
      ranges.push([first, last]);
    }
    this.#at++;
    this.#space(inGroup);
    return characters(...(isNegated ? otherRanges(ranges) : ranges));
  }

  /** The code point of one character of a literal or class, escaped or not. */
  #character(): number {
    const code = this.#source.codePointAt(this.#at)!;
    if (code !== 0x5c) {
      this.#at += code > 0xffff ? 2 : 1;
      return code;
    }
    const letter = this.#source[this.#at + 1] ?? "";
    const digits = hexDigits[letter];
    if (digits !== undefined) {
      const hex = this.#source.slice(this.#at + 2, this.#at + 2 + digits);
      const value = /^[0-9a-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : -1;
      if (value < 0 || value > lastCodePoint)
        throw this.#fault(`"\\${letter}" takes ${digits} hexadecimal digits of a character`);
      this.#at += 2 + digits;
      return value;
    }
    const plain = Object.hasOwn(escapes, letter) ? escapes[letter] : undefined;
    if (plain === undefined) throw this.#fault(`the escape "\\${letter}" is not known`);
    this.#at += 2;
    return plain.charCodeAt(0);
  }

  #repeated(item: Expression, inGroup: boolean): Expression {
    let body = item;
    for (let signs = 0; ; signs++) {
      if (signs > grammarLimits.depth) throw tooMuch("repetitions of repetitions", grammarLimits.depth);
      const sign = this.#source[this.#at] ?? "";
      const range = Object.hasOwn(unbounded, sign) ? unbounded[sign] : undefined;
      if (range) this.#at++;
      else if (sign !== "{") return body;
      const [least, most] = range ?? this.#count();
      this.#space(inGroup);
      body = repeat(body, least, most);
    }
  }

  #count(): readonly [number, number] {
    const at = this.#at++;
    const number = () => {
      this.#space(true);
      const digits = /\d{0,9}/y;
      digits.lastIndex = this.#at;
      const found = digits.exec(this.#source)![0];
      this.#at += found.length;
      this.#space(true);
      return found === "" ? undefined : Number(found);
    };
    const least = number();
    if (least === undefined) throw this.#fault('a number has to follow "{"');
    let most: number | undefined = least;
    if (this.#source[this.#at] === ",") {
      this.#at++;
      most = number();
    }
    if (this.#source[this.#at] !== "}") throw this.#fault('this "{" is not closed', at);
    this.#at++;
    const limit = grammarLimits.repetitions;
    if (least > limit || (most ?? 0) > limit) {
      throw tooMuch("a number of repetitions", limit, Math.max(least, most ?? 0));
    }
    if (most !== undefined && most < least) throw this.#fault("more are asked for than are allowed", at);
    return [least, most ?? Number.POSITIVE_INFINITY];
  }

  #name(): string {
    const from = this.#at;
    while (isWord(this.#source[this.#at] ?? "")) this.#at++;
    if (this.#at === from) throw this.#fault("the name of a rule has to stand here");
    return this.#source.slice(from, this.#at);
  }

  #space(overLines: boolean): void {
    for (;;) {
      const character = this.#source[this.#at];
      if (character === " " || character === "\t") this.#at++;
      else if (overLines && (character === "\n" || character === "\r")) this.#at++;
      else if (character === "#") {
        while (this.#at < this.#source.length && !/[\r\n]/.test(this.#source[this.#at]!)) this.#at++;
      } else return;
    }
  }

  #fault(reason: string, at = this.#at): StowageError {
    const before = this.#source.slice(0, at);
    const line = before.split(/\r\n|\r|\n/).length;
    const column = at - Math.max(before.lastIndexOf("\n"), before.lastIndexOf("\r"));
    return new StowageError("grammar_syntax", { line, column, reason });
  }
}

function tooMuch(what: string, limit: number, found: number | string = "more"): StowageError {
  return new StowageError("grammar_limit", { what, found, limit });
}

function isWord(character: string): boolean {
  return /^[a-zA-Z0-9-]$/.test(character);
}

function shown(character: string): string {
  return JSON.stringify(character);
}

function shortened(name: string): string {
  return name.length <= 80 ? name : `${name.slice(0, 80)}…`;
}
