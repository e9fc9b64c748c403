/** What was predicted of experts, and what came: as bars, and by policy as a table. */
import type { ExpertCounts, Experts } from "../../schemas/experts.ts";
import { element, setText } from "../shared/dom.ts";
import { formatCount, formatMs } from "../shared/format.ts";

interface Part {
  readonly kind: "there" | "useful" | "late" | "missed" | "wasted";
  readonly name: string;
  readonly count: number;
}

/** One bar: a sum and its parts, which stand below it in words. */
class Bar {
  readonly root: HTMLElement;
  readonly #what: string;
  readonly #title = element("p", { class: "bar-title" });
  readonly #bar = element("div", { class: "outcome-bar", "aria-hidden": "true" });
  readonly #parts = element("ul", { class: "kinds" });

  /** @param what is added up, in the plural */
  constructor(what: string) {
    this.#what = what;
    this.root = element("div", { class: "outcome" }, this.#title, this.#bar, this.#parts);
  }

  show(parts: readonly Part[]): void {
    const sum = parts.reduce((total, { count }) => total + count, 0);
    setText(this.#title, `${formatCount(sum)} ${this.#what}`);
    while (this.#parts.childElementCount < parts.length) {
      this.#parts.append(element("li"));
      this.#bar.append(element("span"));
    }
    parts.forEach(({ kind, name, count }, index) => {
      const share = sum === 0 ? 0 : count / sum;
      const item = this.#parts.children[index] as HTMLElement;
      item.className = `kind-${kind}`;
      setText(item, `${name} ${sum === 0 ? "–" : percent(share)}`);
      item.title = formatCount(count);
      const piece = this.#bar.children[index] as HTMLElement;
      piece.className = `kind-${kind}`;
      piece.style.width = `${share * 100}%`;
    });
  }
}

export class OutcomeBars {
  readonly #wanted = new Bar("experts were wanted");
  readonly #ahead = new Bar("experts were read ahead");
  readonly root = element("div", { class: "outcomes" }, this.#wanted.root, this.#ahead.root);

  show({ hits, prefetch_useful, late, misses, prefetch_wasted }: ExpertCounts): void {
    this.#wanted.show([
      { kind: "there", name: "there", count: Math.max(0, hits - prefetch_useful) },
      { kind: "useful", name: "read ahead in time", count: prefetch_useful },
      { kind: "late", name: "late", count: late },
      { kind: "missed", name: "missed", count: misses },
    ]);
    this.#ahead.show([
      { kind: "useful", name: "in time", count: prefetch_useful },
      { kind: "late", name: "late", count: late },
      { kind: "wasted", name: "in vain", count: prefetch_wasted },
    ]);
  }
}

const headings = [
  ["Evicts by", "Reads ahead by"],
  ["Steps", "There", "Late", "Missed", "Ahead in time", "In vain", "Wait a step"],
] as const;

/** A row for each pair of policies that decided for a while. */
export class PolicyTable {
  readonly #body = element("tbody");
  readonly root: HTMLElement;

  constructor() {
    const [names, numbers] = headings;
    const head = [
      ...names.map((name) => element("th", { scope: "col" }, name)),
      ...numbers.map((name) => element("th", { scope: "col", class: "number" }, name)),
    ];
    const caption = element("caption", { class: "visually-hidden" }, "What decode steps came to, by policy");
    const table = element(
      "table",
      { class: "requests policies" },
      caption,
      element("thead", {}, element("tr", {}, ...head)),
      this.#body,
    );
    this.root = element("div", { class: "table-scroll", tabindex: "0" }, table);
  }

  show({ by_policy, policy: { acting } }: Experts): void {
    this.root.hidden = by_policy.length === 0;
    const rows = by_policy.map((row) => {
      const isActing = row.eviction === acting.eviction && row.prefetch === acting.prefetch;
      const cells = cellsOf(row).map((text, index) =>
        index < headings[0].length ? element("td", {}, text) : element("td", { class: "number" }, text),
      );
      if (isActing) cells[1]!.append(" ", element("span", { class: "phase", "data-phase": "decode" }, "now"));
      return element("tr", {}, ...cells);
    });
    this.#body.replaceChildren(...rows);
  }
}

function cellsOf(row: Experts["by_policy"][number]): string[] {
  const asked = Math.max(1, row.hits + row.late + row.misses);
  return [
    row.eviction,
    row.prefetch === "none" ? "nothing" : row.prefetch,
    formatCount(row.steps),
    percent(row.hits / asked),
    percent(row.late / asked),
    percent(row.misses / asked),
    formatCount(row.prefetch_useful),
    formatCount(row.prefetch_wasted),
    formatMs(row.stall_ms / Math.max(1, row.steps)),
  ];
}

export function percent(share: number): string {
  const percents = share * 100;
  return `${percents > 0 && percents < 9.95 ? percents.toFixed(1) : Math.round(percents)} %`;
}
