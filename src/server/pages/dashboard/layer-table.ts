import type { Experts } from "../../schemas/experts.ts";
import { element } from "../shared/dom.ts";
import { formatCount } from "../shared/format.ts";
import { type StateLetter, states } from "./map-cells.ts";
import { percent } from "./outcomes.ts";

const letters = Object.keys(states) as StateLetter[];

/** What the map shows, in numbers by layer. */
export class LayerTable {
  readonly #body = element("tbody");
  readonly root: HTMLDetailsElement;
  #experts: Experts | undefined;

  constructor() {
    const names = [...letters.map((letter) => states[letter].name), "there when wanted"];
    const head = element(
      "tr",
      {},
      element("th", { scope: "col" }, "Layer"),
      ...names.map((name) => element("th", { scope: "col", class: "number" }, name)),
    );
    const table = element("table", { class: "requests" }, element("thead", {}, head), this.#body);
    this.root = element(
      "details",
      { class: "layers" },
      element("summary", {}, "The same as a table"),
      element("div", { class: "table-scroll", tabindex: "0" }, table),
    );
    this.root.addEventListener("toggle", () => this.#fill());
  }

  show(experts: Experts): void {
    this.#experts = experts;
    this.#fill();
  }

  #fill(): void {
    if (!this.root.open || !this.#experts) return;
    const rows = this.#experts.layers.map((layer) => {
      const asked = layer.hits + layer.late + layer.misses;
      const counts = letters.map((letter) => formatCount(layer.states.split(letter).length - 1));
      const cells = [...counts, asked === 0 ? "–" : percent(layer.hits / asked)];
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, String(layer.layer)),
        ...cells.map((text) => element("td", { class: "number" }, text)),
      );
    });
    this.#body.replaceChildren(...rows);
  }
}
