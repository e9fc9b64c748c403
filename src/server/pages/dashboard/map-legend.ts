import type { Experts } from "../../schemas/experts.ts";
import { element, setText } from "../shared/dom.ts";
import { formatCount } from "../shared/format.ts";
import { cellColours, drawCell, type StateLetter, states } from "./map-cells.ts";

const side = 16;
const fields = { u: "in_use", p: "present", a: "ahead", r: "reading", ".": "absent" } as const;

/** The states with their cells as the map draws them, and how many experts are in each. */
export class MapLegend {
  readonly root = element("ul", { class: "map-legend", "aria-label": "States" });
  readonly #swatches: { readonly canvas: HTMLCanvasElement; draw(): void }[] = [];
  readonly #counts = new Map<StateLetter, HTMLElement>();

  constructor() {
    for (const letter of Object.keys(states) as StateLetter[]) {
      const { name, about } = states[letter];
      const count = element("b", {}, "–");
      this.#counts.set(letter, count);
      const swatch = this.#swatch([[letter, letter === "." ? 0 : 9]]);
      this.root.append(element("li", { title: about }, swatch, `${name} `, count));
    }
    const heats = [0, 2, 4, 6, 9];
    const ramp = this.#swatch([
      ...heats.map((heat) => ["p", heat] as const),
      ...heats.map((heat) => [".", heat] as const),
    ]);
    const title =
      "The stronger a cell, or the dot of one that is absent, the more of the latest steps used it";
    this.root.append(element("li", { title }, ramp, "seldom to often used lately"));
    this.draw();
  }

  show(counts: Experts["states"]): void {
    for (const [letter, node] of this.#counts) setText(node, formatCount(counts[fields[letter]]));
  }

  draw(): void {
    for (const { draw } of this.#swatches) draw();
  }

  #swatch(cells: readonly (readonly [StateLetter, number])[]): HTMLCanvasElement {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const width = cells.length * side;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${side}px`;
    const draw = () => {
      canvas.width = Math.ceil(width * devicePixelRatio);
      canvas.height = Math.ceil(side * devicePixelRatio);
      const context = canvas.getContext("2d")!;
      context.scale(devicePixelRatio, devicePixelRatio);
      const colours = cellColours();
      cells.forEach(([state, heat], index) => {
        drawCell(context, [index * side + 1, 1], side, state, heat, colours);
      });
    };
    this.#swatches.push({ canvas, draw });
    return canvas;
  }
}
