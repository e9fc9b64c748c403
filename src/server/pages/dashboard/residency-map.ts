/** A map of layers and experts: which are in memory, and how hot they are. */
import type { Experts } from "../../schemas/experts.ts";
import { element, setText } from "../shared/dom.ts";
import { formatCount } from "../shared/format.ts";
import { colourOf } from "./colours.ts";
import { cellColours, drawCell, type StateLetter, states } from "./map-cells.ts";
import {
  bars,
  cornerOf,
  labelStep,
  type MapLayout,
  type MapPlace,
  mapLayout,
  margin,
  placeAt,
} from "./map-layout.ts";

const font = "11px system-ui, sans-serif";

/** By how much an arrow key moves, as [columns, rows]. */
const arrows: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export class ResidencyMap {
  readonly root: HTMLElement;
  readonly #canvas = element("canvas", { role: "img", tabindex: "0" });
  readonly #readout = element("p", { class: "hint readout", "aria-live": "polite" });
  readonly #frame: HTMLElement;
  #experts: Experts | undefined;
  #layout: MapLayout | undefined;
  #place: MapPlace | undefined;

  constructor() {
    this.#frame = element("div", { class: "map-frame" }, this.#canvas);
    this.root = element("div", { class: "map" }, this.#frame, this.#readout);
    this.#canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
      if (this.#layout) this.#pointAt(placeAt(this.#layout, offsetX, offsetY));
    });
    this.#canvas.addEventListener("pointerleave", () => this.#pointAt(undefined));
    this.#canvas.addEventListener("blur", () => this.#pointAt(undefined));
    this.#canvas.addEventListener("keydown", (event) => this.#move(event));
    new ResizeObserver(() => this.draw()).observe(this.#frame);
  }

  show(experts: Experts): void {
    this.#experts = experts;
    this.#canvas.setAttribute("aria-label", inWords(experts));
    this.draw();
    this.#tell();
  }

  /** Draws in the colours and the size that hold now. */
  draw(): void {
    const width = this.#frame.clientWidth;
    const { layers } = this.#experts ?? { layers: [] };
    if (width === 0 || layers.length === 0) return;
    const layout = mapLayout(layers.length, layers[0]!.states.length, width);
    this.#layout = layout;
    const scale = devicePixelRatio;
    // Setting the size clears the canvas.
    this.#canvas.width = Math.ceil(layout.width * scale);
    this.#canvas.height = Math.ceil(layout.height * scale);
    this.#canvas.style.width = `${layout.width}px`;
    this.#canvas.style.height = `${layout.height}px`;
    const context = this.#canvas.getContext("2d")!;
    context.scale(scale, scale);
    this.#drawLabels(context, layout);
    const colours = cellColours();
    layers.forEach(({ states, heat }, layer) => {
      for (let expert = 0; expert < states.length; expert++) {
        const corner = cornerOf(layout, { layer, expert });
        const state = states[expert] as StateLetter;
        drawCell(context, corner, layout.cell, state, Number(heat[expert]), colours);
      }
    });
    if (layout.hasBars) this.#drawBars(context, layout);
    this.#drawPlace(context, layout);
  }

  /** Of each layer, the share of its experts that were there when wanted. */
  #drawBars(context: CanvasRenderingContext2D, { cell, width }: MapLayout): void {
    const left = width - bars.width;
    const height = Math.max(2, Math.min(10, cell - 3));
    const [all, there, text] = ["--sunken", "--curve-1", "--muted"].map(colourOf) as [string, string, string];
    context.fillStyle = text;
    context.textAlign = "left";
    context.fillText("hits", left, margin.top / 2 - 1);
    this.#experts!.layers.forEach(({ hits, late, misses }, layer) => {
      const top = margin.top + (layer + 0.5) * cell - height / 2 - 1;
      const share = hits / Math.max(1, hits + late + misses);
      context.fillStyle = all;
      context.fillRect(left, top, bars.width, height);
      context.fillStyle = there;
      context.fillRect(left, top, bars.width * share, height);
    });
  }

  /** Numbers of layers and experts, as many as there is room for. */
  #drawLabels(context: CanvasRenderingContext2D, { cell, isUpright }: MapLayout): void {
    const layers = this.#experts!.layers.map(({ layer }) => layer);
    const experts = Array.from(this.#experts!.layers[0]!.states, (_, expert) => expert);
    const [columns, rows] = isUpright ? [experts, layers] : [layers, experts];
    context.font = font;
    context.fillStyle = colourOf("--muted");
    context.textBaseline = "middle";
    context.textAlign = "center";
    const across = labelStep(cell, 24);
    columns.forEach((number, index) => {
      if (index % across > 0) return;
      context.fillText(String(number), margin.left + (index + 0.5) * cell - 1, margin.top / 2 - 1);
    });
    context.textAlign = "right";
    const down = labelStep(cell, 14);
    rows.forEach((number, index) => {
      if (index % down > 0) return;
      context.fillText(String(number), margin.left - 7, margin.top + (index + 0.5) * cell);
    });
  }

  #drawPlace(context: CanvasRenderingContext2D, layout: MapLayout): void {
    if (!this.#place) return;
    const [x, y] = cornerOf(layout, this.#place);
    context.strokeStyle = colourOf("--text");
    context.lineWidth = 1.5;
    context.strokeRect(x - 1.5, y - 1.5, layout.cell + 1, layout.cell + 1);
  }

  #pointAt(place: MapPlace | undefined): void {
    this.#place = place && this.#isThere(place) ? place : undefined;
    this.draw();
    this.#tell();
  }

  #isThere({ layer, expert }: MapPlace): boolean {
    const row = this.#experts?.layers[layer];
    return row !== undefined && expert >= 0 && expert < row.states.length;
  }

  #move(event: KeyboardEvent): void {
    const step = arrows[event.key];
    if (!step || !this.#layout) return;
    event.preventDefault();
    const [columns, rows] = step;
    const [experts, layers] = this.#layout.isUpright ? [columns, rows] : [rows, columns];
    const from = this.#place;
    const to = from ? { layer: from.layer + layers, expert: from.expert + experts } : { layer: 0, expert: 0 };
    if (this.#isThere(to)) this.#pointAt(to);
  }

  /** What is known of the expert that is pointed at. */
  #tell(): void {
    const place = this.#place;
    if (!place || !this.#experts) {
      const [down, right] = this.#layout?.isUpright === false ? ["experts", "layers"] : ["layers", "experts"];
      const order = `${down} from top to bottom, ${right} from left to right`;
      setText(this.#readout, `Each cell is an expert: ${order}. Point at one, or use the arrow keys.`);
      return;
    }
    const { layer, states: letters, heat } = this.#experts.layers[place.layer]!;
    const { name, about } = states[letters[place.expert] as StateLetter];
    const share = (Number(heat[place.expert]) / 9) ** 2;
    const used = share === 0 ? "not used lately" : `used in about ${percent(share)} of the latest steps`;
    setText(this.#readout, `Layer ${layer}, expert ${place.expert}: ${name} (${about}); ${used}.`);
  }
}

/** What the map shows, for those who do not see it. */
export function inWords({ layers, states }: Experts): string {
  const all = formatCount(layers.length * (layers[0]?.states.length ?? 0));
  const { in_use, present, ahead, reading, absent } = states;
  const counts = `${formatCount(in_use)} in use, ${formatCount(present)} there, ${formatCount(ahead)} read ahead, ${formatCount(reading)} being read, ${formatCount(absent)} absent`;
  return `Map of ${layers.length} layers and their ${all} experts: ${counts}. The table below tells them by layer.`;
}

function percent(share: number): string {
  return `${share < 0.1 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;
}
