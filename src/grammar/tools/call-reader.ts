import type { ToolFormat } from "./formats.ts";

/** What a piece of an answer is. */
export type AnswerPiece =
  | { readonly kind: "content"; readonly text: string }
  | { readonly kind: "call"; readonly index: number; readonly name: string }
  | { readonly kind: "arguments"; readonly index: number; readonly text: string };

/**
 * Tells the calls in an answer from its text, piece by piece as it comes. It takes the answer to be of the format's grammar, and
 * may end anywhere.
 */
export class CallReader {
  readonly #format: ToolFormat;
  readonly #start: string;
  #place: "text" | "name" | "arguments" | "after" = "text";
  #held = "";
  #calls = 0;
  #isFirst = true;
  #depth = 0;
  #inString = false;
  #isEscaped = false;

  constructor(format: ToolFormat) {
    this.#format = format;
    this.#start = format.open + format.before;
  }

  /** Calls that have begun. */
  get calls(): number {
    return this.#calls;
  }

  push(text: string): AnswerPiece[] {
    this.#held += text;
    const pieces: AnswerPiece[] = [];
    while (this.#read(pieces));
    return pieces;
  }

  /** Ends the answer: what may have become a call is text. */
  flush(): AnswerPiece[] {
    const text = this.#place === "text" ? this.#held : "";
    this.#held = "";
    return text === "" ? [] : [{ kind: "content", text }];
  }

  /** @returns whether it came further */
  #read(pieces: AnswerPiece[]): boolean {
    switch (this.#place) {
      case "text":
        return this.#readText(pieces);
      case "name":
        return this.#readName(pieces);
      case "arguments":
        return this.#readArguments(pieces);
      case "after": {
        const next = this.#format.after + this.#format.between + this.#format.before;
        if (!this.#held.startsWith(next)) return false;
        this.#held = this.#held.slice(next.length);
        this.#place = "name";
        return true;
      }
    }
  }

  #readText(pieces: AnswerPiece[]): boolean {
    const say = (text: string) => {
      if (text === "") return;
      this.#isFirst = false;
      pieces.push({ kind: "content", text });
    };
    const mayBegin = !this.#format.alone || this.#isFirst;
    const at = mayBegin ? this.#held.indexOf(this.#start) : -1;
    if (at >= 0 && (at === 0 || !this.#format.alone)) {
      say(this.#held.slice(0, at));
      this.#held = this.#held.slice(at + this.#start.length);
      this.#place = "name";
      return true;
    }
    let kept = mayBegin ? Math.min(this.#held.length, this.#start.length - 1) : 0;
    if (this.#format.alone && kept < this.#held.length) kept = 0;
    while (kept > 0 && !this.#start.startsWith(this.#held.slice(this.#held.length - kept))) kept--;
    if (this.#format.alone && kept < this.#held.length) kept = 0;
    say(this.#held.slice(0, this.#held.length - kept));
    this.#held = this.#held.slice(this.#held.length - kept);
    return false;
  }

  #readName(pieces: AnswerPiece[]): boolean {
    const end = this.#held.indexOf(this.#format.middle);
    if (end < 0) return false;
    pieces.push({ kind: "call", index: this.#calls++, name: this.#held.slice(0, end) });
    this.#held = this.#held.slice(end + this.#format.middle.length);
    this.#place = "arguments";
    return true;
  }

  /** Arguments are one object: they end with its brace. */
  #readArguments(pieces: AnswerPiece[]): boolean {
    let end = 0;
    let isWhole = false;
    while (end < this.#held.length && !isWhole) {
      const character = this.#held[end++]!;
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === "\\") this.#isEscaped = true;
      else if (character === '"') this.#inString = !this.#inString;
      else if (!this.#inString && character === "{") this.#depth++;
      else if (!this.#inString && character === "}") isWhole = --this.#depth === 0;
    }
    if (end > 0) pieces.push({ kind: "arguments", index: this.#calls - 1, text: this.#held.slice(0, end) });
    this.#held = this.#held.slice(end);
    if (isWhole) this.#place = "after";
    return isWhole;
  }
}
