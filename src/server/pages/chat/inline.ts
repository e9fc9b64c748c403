/** What stands in a line of Markdown: text, code, emphasis, links. Pure: text in, a small tree out. */

export type Inline =
  | { readonly type: "text" | "code"; readonly text: string }
  | { readonly type: "strong" | "emphasis" | "strike"; readonly children: readonly Inline[] }
  | { readonly type: "link"; readonly href: string; readonly children: readonly Inline[] }
  | { readonly type: "break" };

/** Emphasis in emphasis: nobody writes more levels, and a model that loops must not make the reader's browser recurse. */
const maxDepth = 6;

const marks = [
  { mark: "**", type: "strong" },
  { mark: "__", type: "strong" },
  { mark: "~~", type: "strike" },
  { mark: "*", type: "emphasis" },
  { mark: "_", type: "emphasis" },
] as const;

/** Something that was recognised, and the index behind it. */
interface Found {
  readonly node: Inline;
  readonly end: number;
}

export function parseInline(source: string, depth = 0): Inline[] {
  return new InlineParser(source, depth).parse();
}

class InlineParser {
  readonly #source: string;
  readonly #depth: number;
  readonly #nodes: Inline[] = [];
  #text = "";
  /** Marks of which none closes in the rest: so a text of many lone marks is still read in linear time. */
  readonly #unclosed = new Set<string>();

  constructor(source: string, depth: number) {
    this.#source = source;
    this.#depth = depth;
  }

  parse(): Inline[] {
    let at = 0;
    while (at < this.#source.length) {
      const found = this.#found(at);
      if (found === undefined) {
        this.#text += this.#source[at];
        at += 1;
      } else {
        this.#add(found.node);
        at = found.end;
      }
    }
    this.#endText();
    return this.#nodes;
  }

  #add(node: Inline): void {
    if (node.type === "text") this.#text += node.text;
    else {
      this.#endText();
      this.#nodes.push(node);
    }
  }

  #endText(): void {
    if (this.#text !== "") this.#nodes.push({ type: "text", text: this.#text });
    this.#text = "";
  }

  #found(at: number): Found | undefined {
    switch (this.#source[at]) {
      case "\\":
        return this.#escape(at);
      case "\n":
        return { node: { type: "break" }, end: at + 1 };
      case "`":
        return this.#code(at);
      case "[":
        return this.#link(at);
      case "h":
        return this.#address(at);
      case "*":
      case "_":
      case "~":
        return this.#emphasis(at);
      default:
        return undefined;
    }
  }

  #escape(at: number): Found | undefined {
    const escaped = this.#source[at + 1] ?? "";
    return /[!-/:-@[-`{-~]/.test(escaped)
      ? { node: { type: "text", text: escaped }, end: at + 2 }
      : undefined;
  }

  /** Code ends at as many backticks as it began with. A run that begins nothing is text as a whole. */
  #code(at: number): Found {
    const mark = /`+/y;
    mark.lastIndex = at;
    const fence = mark.exec(this.#source)![0];
    const start = at + fence.length;
    const end = this.#closing(fence, start, (found) => this.#runAt(found) === fence.length);
    if (end === undefined) return { node: { type: "text", text: fence }, end: start };
    const text = this.#source.slice(start, end).replaceAll("\n", " ");
    const trimmed = /^ .*[^ ].* $/.test(text) ? text.slice(1, -1) : text;
    return { node: { type: "code", text: trimmed }, end: end + fence.length };
  }

  /** How many backticks begin at an index; 0 inside of a run. */
  #runAt(at: number): number {
    if (this.#source[at - 1] === "`") return 0;
    let end = at;
    while (this.#source[end] === "`") end += 1;
    return end - at;
  }

  #link(at: number): Found | undefined {
    const pattern =
      /\[([^[\]]{1,500})\]\(\s*<?(https?:\/\/[^\s<>()]+(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+"[^"\n]{0,500}")?\s*\)/y;
    pattern.lastIndex = at;
    const match = pattern.exec(this.#source);
    if (match === null || !isWebAddress(match[2]!)) return undefined;
    return {
      node: { type: "link", href: match[2]!, children: this.#inside(match[1]!) },
      end: pattern.lastIndex,
    };
  }

  /** An address that stands by itself; punctuation behind it belongs to the sentence. */
  #address(at: number): Found | undefined {
    if (/[\p{L}\p{N}]/u.test(this.#source[at - 1] ?? "")) return undefined;
    const pattern = /https?:\/\/[^\s<>"'`*[\]]{1,2000}/y;
    pattern.lastIndex = at;
    const address = pattern.exec(this.#source)?.[0].replace(/[.,;:!?)]+$/, "");
    if (address === undefined || !isWebAddress(address)) return undefined;
    const children: Inline[] = [{ type: "text", text: address }];
    return { node: { type: "link", href: address, children }, end: at + address.length };
  }

  #emphasis(at: number): Found | undefined {
    if (this.#depth >= maxDepth) return undefined;
    for (const { mark, type } of marks) {
      if (!this.#source.startsWith(mark, at) || !this.#opens(mark, at)) continue;
      const start = at + mark.length;
      const end = this.#closing(mark, start + 1, (found) => this.#closes(mark, found));
      if (end === undefined) continue;
      const children = this.#inside(this.#source.slice(start, end));
      return { node: { type, children }, end: end + mark.length };
    }
    return undefined;
  }

  #opens(mark: string, at: number): boolean {
    const before = this.#source[at - 1] ?? " ";
    const after = this.#source[at + mark.length] ?? " ";
    // Three marks are a double one around a single one.
    const isLonger = after === mark[0] && (mark.length === 1 || this.#source[at + 3] === mark[0]);
    return !/\s/.test(after) && !isLonger && !(mark[0] === "_" && isWord(before));
  }

  #closes(mark: string, at: number): boolean {
    const before = this.#source[at - 1] ?? " ";
    const after = this.#source[at + mark.length] ?? " ";
    if (/\s/.test(before) || (mark[0] === "_" && isWord(after))) return false;
    if (after === mark[0]) return false;
    // A single mark is not half of a double one, but may be the last of three.
    return mark.length === 2 || before !== mark || this.#source.startsWith(mark.repeat(3), at - 2);
  }

  #closing(mark: string, from: number, closes: (at: number) => boolean): number | undefined {
    if (this.#unclosed.has(mark)) return undefined;
    for (let at = this.#source.indexOf(mark, from); at !== -1; at = this.#source.indexOf(mark, at + 1)) {
      if (closes(at)) return at;
    }
    this.#unclosed.add(mark);
    return undefined;
  }

  #inside(source: string): Inline[] {
    return parseInline(source, this.#depth + 1);
  }
}

function isWord(character: string): boolean {
  return /[\p{L}\p{N}_]/u.test(character);
}

/** Only addresses of the web become links: what a model writes must not run a script or open a program. */
export function isWebAddress(href: string): boolean {
  return URL.canParse(href) && /^https?:$/.test(new URL(href).protocol);
}
