import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Inline, isWebAddress, parseInline } from "./inline.ts";
import { type Block, parseMarkdown } from "./markdown.ts";

const text = (value: string): Inline => ({ type: "text", text: value });
const paragraph = (...children: Inline[]): Block => ({ type: "paragraph", children });

/** Everything that a tree says, in order; addresses and languages behind and before their text, as they are written. */
function wordsOf(node: Block | Inline): string {
  switch (node.type) {
    case "text":
      return node.text;
    case "code":
      return `${"language" in node ? node.language : ""} ${node.text}`;
    case "link": {
      const label = node.children.map(wordsOf).join("");
      return label === node.href ? label : `${label} ${node.href}`;
    }
    case "list":
      return node.items.flat().map(wordsOf).join(" ");
    case "table":
      return node.rows.flat(2).map(wordsOf).join(" ");
    case "rule":
    case "break":
      return "";
    default:
      return node.children.map(wordsOf).join("");
  }
}

/** Marks and numbers of lists are Markdown; letters are what the model said. */
const letters = (value: string) => value.replace(/\P{L}/gu, "");

const pieces = fc.constantFrom(
  ...[
    "a",
    "word",
    " ",
    "  ",
    "\n",
    "\n\n",
    "*",
    "**",
    "_",
    "~~",
    "`",
    "```",
    "```js\n",
    "- ",
    "1. ",
    "> ",
    "# ",
  ],
  ...[
    "[",
    "](",
    ")",
    "https://x.example/a_b",
    "javascript:x",
    "|",
    "|-|-|\n",
    "\\",
    "<b>",
    "é",
    "漢",
    "\r\n",
    "    ",
  ],
);
const documents = fc.oneof(
  fc.array(pieces, { maxLength: 60 }).map((parts) => parts.join("")),
  fc.string(),
);

describe("parseMarkdown", () => {
  it("reads paragraphs, headings and rules", () => {
    assert.deepEqual(parseMarkdown("One\ntwo\n\n## Three ##\n---\nfour"), [
      paragraph(text("One"), { type: "break" }, text("two")),
      { type: "heading", level: 2, children: [text("Three")] },
      { type: "rule" },
      paragraph(text("four")),
    ]);
  });

  it("reads code, also while it is being written", () => {
    const code = { type: "code", language: "ts", text: "if (a) {\n\n  b();" };
    assert.deepEqual(parseMarkdown("```ts\nif (a) {\n\n  b();\n```\nend"), [code, paragraph(text("end"))]);
    assert.deepEqual(parseMarkdown("```ts\nif (a) {\n\n  b();"), [code]);
    assert.deepEqual(parseMarkdown("~~~\n```\n~~~"), [{ type: "code", language: "", text: "```" }]);
  });

  it("reads lists in lists, and goes on behind blank lines", () => {
    const item = (...blocks: Block[]) => blocks;
    assert.deepEqual(parseMarkdown("2. a\n   - b\n   - c\n\n3. d\ne"), [
      {
        type: "list",
        start: 2,
        items: [
          item(paragraph(text("a")), {
            type: "list",
            start: null,
            items: [item(paragraph(text("b"))), item(paragraph(text("c")))],
          }),
          item(paragraph(text("d"), { type: "break" }, text("e"))),
        ],
      },
    ]);
  });

  it("reads quotes and tables", () => {
    assert.deepEqual(parseMarkdown("> a\n> **b**"), [
      {
        type: "quote",
        children: [paragraph(text("a"), { type: "break" }, { type: "strong", children: [text("b")] })],
      },
    ]);
    assert.deepEqual(parseMarkdown("| a | b |\n|---|:-:|\n| 1 | x \\| y |\nend"), [
      {
        type: "table",
        rows: [
          [[text("a")], [text("b")]],
          [[text("1")], [text("x | y")]],
        ],
      },
      paragraph(text("end")),
    ]);
  });

  it("takes any text, and loses no word of it", () => {
    fc.assert(
      fc.property(documents, (source) => {
        assert.equal(letters(parseMarkdown(source).map(wordsOf).join(" ")), letters(source));
      }),
      { numRuns: 2000 },
    );
  });

  it("leaves text without marks as it is", () => {
    const plain = fc.stringMatching(/^[a-gi-z][a-gi-z ,.;]{0,60}[a-gi-z]$/);
    fc.assert(
      fc.property(plain, (source) => assert.deepEqual(parseMarkdown(source), [paragraph(text(source))])),
    );
  });

  it("reads a long text of marks that lead nowhere in moderate time", () => {
    for (const piece of ["*a ", "**", "_a ", "`", "``a", "[a](", "> ", "- ", "|-", "~~ ", "https://"]) {
      const began = performance.now();
      parseMarkdown(piece.repeat(20_000));
      assert.ok(performance.now() - began < 3000, `${piece}: ${performance.now() - began} ms`);
    }
  });
});

describe("parseInline", () => {
  it("reads emphasis, code and escapes", () => {
    assert.deepEqual(parseInline("**a *b*** `c*d*` \\*e\\* ~~f~~ snake_case_name 2 * 3 * 4"), [
      { type: "strong", children: [text("a "), { type: "emphasis", children: [text("b")] }] },
      text(" "),
      { type: "code", text: "c*d*" },
      text(" *e* "),
      { type: "strike", children: [text("f")] },
      text(" snake_case_name 2 * 3 * 4"),
    ]);
  });

  it("reads marks that meet", () => {
    const a = text("a");
    assert.deepEqual(parseInline("***a***"), [
      { type: "strong", children: [{ type: "emphasis", children: [a] }] },
    ]);
    assert.deepEqual(parseInline("*a **b***"), [
      { type: "emphasis", children: [text("a "), { type: "strong", children: [text("b")] }] },
    ]);
    assert.deepEqual(parseInline("****"), [text("****")]);
  });

  it("makes links of addresses of the web, and of nothing else", () => {
    const href = "https://x.example/a_(b)";
    assert.deepEqual(parseInline(`[a](${href})`), [{ type: "link", href, children: [text("a")] }]);
    assert.deepEqual(parseInline("see http://x.example."), [
      text("see "),
      { type: "link", href: "http://x.example", children: [text("http://x.example")] },
      text("."),
    ]);
    for (const address of [
      "javascript:alert(1)",
      "data:text/html,x",
      "file:///etc/passwd",
      "//x.example",
      "/api",
    ]) {
      assert.deepEqual(parseInline(`[a](${address})`), [text(`[a](${address})`)]);
      assert.equal(isWebAddress(address), false);
    }
  });
});
