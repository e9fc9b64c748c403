/** Markdown as nodes of the page. Text of a model only ever becomes text nodes: it is never parsed as HTML. */
import { element } from "../shared/dom.ts";
import { copyButton } from "./copy-button.ts";
import type { Inline } from "./inline.ts";
import { type Block, parseMarkdown } from "./markdown.ts";

/** Shows a text that grows: only the blocks that changed are made anew. */
export class MarkdownView {
  readonly #root: HTMLElement;
  #shown: string[] = [];

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  show(source: string): void {
    const blocks = parseMarkdown(source);
    const wanted = blocks.map((block) => JSON.stringify(block));
    let same = 0;
    while (same < wanted.length && wanted[same] === this.#shown[same]) same += 1;
    while (this.#root.childNodes.length > same) this.#root.lastChild!.remove();
    this.#root.append(...blocks.slice(same).map(renderBlock));
    this.#shown = wanted;
  }
}

function renderBlock(block: Block): Node {
  switch (block.type) {
    case "paragraph":
      return element("p", {}, ...block.children.map(renderInline));
    case "heading":
      // The page has headings of its own above these.
      return element(
        `h${Math.min(6, block.level + 2)}` as "h3",
        { class: `level-${block.level}` },
        ...block.children.map(renderInline),
      );
    case "code":
      return renderCode(block.language, block.text);
    case "list":
      return renderList(block);
    case "quote":
      return element("blockquote", {}, ...block.children.map(renderBlock));
    case "table":
      return renderTable(block.rows);
    case "rule":
      return element("hr");
  }
}

function renderInline(node: Inline): Node {
  switch (node.type) {
    case "text":
      return document.createTextNode(node.text);
    case "code":
      return element("code", {}, node.text);
    case "break":
      return element("br");
    case "strong":
      return element("strong", {}, ...node.children.map(renderInline));
    case "emphasis":
      return element("em", {}, ...node.children.map(renderInline));
    case "strike":
      return element("s", {}, ...node.children.map(renderInline));
    case "link": {
      const attributes = { href: node.href, target: "_blank", rel: "noopener noreferrer nofollow" };
      return element("a", attributes, ...node.children.map(renderInline));
    }
  }
}

function renderCode(language: string, text: string): Node {
  const head = element(
    "div",
    { class: "code-head" },
    element("span", {}, language),
    copyButton("Copy the code", () => text),
  );
  return element(
    "div",
    { class: "code-block" },
    head,
    element("pre", { tabindex: "0" }, element("code", {}, text)),
  );
}

function renderList({ start, items }: Extract<Block, { type: "list" }>): Node {
  const nodes = items.map((item) => {
    const [first] = item;
    // An item of one paragraph stands close to its neighbours.
    const isTight = first?.type === "paragraph" && item.slice(1).every(({ type }) => type === "list");
    const lead = isTight ? first.children.map(renderInline) : [];
    return element("li", {}, ...lead, ...item.slice(isTight ? 1 : 0).map(renderBlock));
  });
  return start === null
    ? element("ul", {}, ...nodes)
    : element("ol", start === 1 ? {} : { start: String(start) }, ...nodes);
}

function renderTable(rows: readonly (readonly (readonly Inline[])[])[]): Node {
  const row = (cells: readonly (readonly Inline[])[], tag: "th" | "td") =>
    element("tr", {}, ...cells.map((cell) => element(tag, {}, ...cell.map(renderInline))));
  const [head = [], ...rest] = rows;
  const body = rest.map((cells) => row(cells, "td"));
  const table = element("table", {}, element("thead", {}, row(head, "th")), element("tbody", {}, ...body));
  return element("div", { class: "table-scroll", tabindex: "0" }, table);
}
