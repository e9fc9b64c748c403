/**
 * The part of Markdown that models write: paragraphs, headings, lists, quotes, tables, rules, code. Pure: text in, a small
 * tree out. Any text is valid, also one that is still being written.
 */
import { type Inline, parseInline } from "./inline.ts";

export type Block =
  | { readonly type: "paragraph"; readonly children: readonly Inline[] }
  | { readonly type: "heading"; readonly level: number; readonly children: readonly Inline[] }
  | { readonly type: "code"; readonly language: string; readonly text: string }
  | { readonly type: "list"; readonly start: number | null; readonly items: readonly (readonly Block[])[] }
  | { readonly type: "quote"; readonly children: readonly Block[] }
  | { readonly type: "table"; readonly rows: readonly (readonly (readonly Inline[])[])[] }
  | { readonly type: "rule" };

const fencePattern = /^( {0,3})(`{3,}|~{3,})\s*([^`]*)$/;
const headingPattern = /^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$/;
const rulePattern = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const itemPattern = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)(.*)$/;
const quotePattern = /^ {0,3}> ?(.*)$/;
const tableRulePattern = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** Lists in lists and quotes in quotes: deeper ones are paragraphs. */
const maxDepth = 8;

export function parseMarkdown(source: string): Block[] {
  return new BlockParser(source.replace(/\r\n?/g, "\n").split("\n"), 0).parse();
}

class BlockParser {
  readonly #lines: readonly string[];
  readonly #depth: number;
  readonly #blocks: Block[] = [];
  #at = 0;

  constructor(lines: readonly string[], depth: number) {
    this.#lines = lines;
    this.#depth = depth;
  }

  parse(): Block[] {
    while (this.#at < this.#lines.length) {
      if (this.#line().trim() === "") this.#at += 1;
      else this.#blocks.push(this.#block());
    }
    return this.#blocks;
  }

  #block(): Block {
    const special =
      this.#code() ?? this.#heading() ?? this.#rule() ?? this.#table() ?? this.#list() ?? this.#quote();
    return special ?? this.#paragraph();
  }

  #line(offset = 0): string {
    return this.#lines[this.#at + offset] ?? "";
  }

  /** Up to the fence that closes it; to the end when that is not written yet. */
  #code(): Block | undefined {
    const match = fencePattern.exec(this.#line());
    if (match === null) return undefined;
    const [, indent, fence, language] = match as unknown as [string, string, string, string];
    const closing = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}\\s*$`);
    const margin = new RegExp(`^ {0,${indent.length}}`);
    const text: string[] = [];
    for (this.#at += 1; this.#at < this.#lines.length; this.#at += 1) {
      if (closing.test(this.#line())) {
        this.#at += 1;
        break;
      }
      text.push(this.#line().replace(margin, ""));
    }
    return { type: "code", language: language.trim(), text: text.join("\n") };
  }

  #heading(): Block | undefined {
    const match = headingPattern.exec(this.#line());
    if (match === null) return undefined;
    this.#at += 1;
    return { type: "heading", level: match[1]!.length, children: parseInline(match[2]!) };
  }

  #rule(): Block | undefined {
    if (!rulePattern.test(this.#line())) return undefined;
    this.#at += 1;
    return { type: "rule" };
  }

  #table(): Block | undefined {
    const head = this.#line();
    if (!head.includes("|") || !this.#line(1).includes("-") || !tableRulePattern.test(this.#line(1)))
      return undefined;
    if (cellsOf(head).length !== cellsOf(this.#line(1)).length) return undefined;
    const rows = [cellsOf(head)];
    for (this.#at += 2; this.#line().includes("|"); this.#at += 1) rows.push(cellsOf(this.#line()));
    return { type: "table", rows: rows.map((cells) => cells.map((cell) => parseInline(cell))) };
  }

  #quote(): Block | undefined {
    if (this.#depth >= maxDepth || !quotePattern.test(this.#line())) return undefined;
    const lines: string[] = [];
    for (
      let match = quotePattern.exec(this.#line());
      match !== null;
      match = quotePattern.exec(this.#line())
    ) {
      lines.push(match[1]!);
      this.#at += 1;
    }
    return { type: "quote", children: this.#inside(lines) };
  }

  #list(): Block | undefined {
    const first = this.#item();
    if (this.#depth >= maxDepth || first === undefined) return undefined;
    const items: Block[][] = [];
    for (let item = this.#item(); item !== undefined && item.kind === first.kind; item = this.#item()) {
      items.push(this.#inside(this.#itemLines(item.text, item.indent)));
    }
    return { type: "list", start: first.start, items };
  }

  /** What the line says as an item of a list. */
  #item() {
    const match = itemPattern.exec(this.#line());
    if (match === null || rulePattern.test(this.#line())) return undefined;
    const [, margin, mark, gap, text] = match as unknown as [string, string, string, string, string];
    const isNumbered = mark.length > 1;
    return {
      kind: mark.at(-1),
      start: isNumbered ? Number.parseInt(mark, 10) : null,
      // More than four spaces would be code in the item; only one belongs to the mark then.
      indent: margin.length + mark.length + (gap.length > 4 ? 1 : Math.max(1, gap.length)),
      text,
    };
  }

  /** The first line of an item and all that belong to it: those indented below it, and lines that go on. */
  #itemLines(first: string, indent: number): string[] {
    const lines = [first];
    for (this.#at += 1; this.#at < this.#lines.length; this.#at += 1) {
      const line = this.#line();
      const isBlank = line.trim() === "";
      const margin = line.length - line.trimStart().length;
      // Models indent by two where three are due, so two are enough.
      if (isBlank && !this.#goesOn(Math.min(indent, 2))) break;
      if (!isBlank && margin < Math.min(indent, 2) && (lines.at(-1)!.trim() === "" || this.#startsBlock()))
        break;
      lines.push(line.slice(Math.min(indent, margin)));
    }
    // A blank line between two items is not the end of the list.
    if (this.#line().trim() === "" && itemPattern.test(this.#line(1))) this.#at += 1;
    return lines;
  }

  /** Whether the item goes on behind a blank line. */
  #goesOn(indent: number): boolean {
    const next = this.#line(1);
    return next.trim() !== "" && next.length - next.trimStart().length >= indent;
  }

  #paragraph(): Block {
    const lines = [this.#line()];
    for (this.#at += 1; this.#at < this.#lines.length; this.#at += 1) {
      if (this.#line().trim() === "" || this.#startsBlock()) break;
      lines.push(this.#line());
    }
    return { type: "paragraph", children: parseInline(lines.map((line) => line.trim()).join("\n")) };
  }

  /** Whether the line ends a paragraph above it. */
  #startsBlock(): boolean {
    const line = this.#line();
    return [fencePattern, headingPattern, rulePattern, itemPattern, quotePattern].some((pattern) =>
      pattern.test(line),
    );
  }

  #inside(lines: readonly string[]): Block[] {
    return new BlockParser(lines, this.#depth + 1).parse();
  }
}

function cellsOf(line: string): string[] {
  return line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
}
