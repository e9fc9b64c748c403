import { formatNumber } from "./format.ts";
import { escapeHtml } from "./html.ts";

/** One curve. */
export interface Series {
  readonly name: string;
  /** x and y of each point, in order of x. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Curves over one pair of axes. */
export interface Plot {
  readonly title: string;
  /** What x is, with its unit. */
  readonly xLabel: string;
  /** What y is, with its unit. */
  readonly yLabel: string;
  readonly series: readonly Series[];
}

/** Colours that colour-blind readers can tell apart: on light ground, and on dark. */
const colours = [
  ["#0072b2", "#5ab4f0"],
  ["#d55e00", "#ff8f4a"],
  ["#00785a", "#3fcf9f"],
  ["#a8468a", "#ec9fce"],
  ["#8a6d00", "#f0c93a"],
  ["#555555", "#bbbbbb"],
] as const;

const width = 640;
const height = 320;
const area = { left: 64, right: width - 16, top: 16, bottom: height - 44 };

/** The style sheet for the curves; a page with plots needs it once. */
export const plotStyle = [0, 1]
  .map((dark) => {
    const rules = colours.map((pair, index) => `.c${index}{color:${pair[dark]}}`).join("");
    return dark ? `@media (prefers-color-scheme:dark){${rules}}` : rules;
  })
  .join("");

/** The plot as an HTML figure with inline SVG, and a legend. The y axis starts at 0 unless there are values below. */
export function plotHtml({ title, xLabel, yLabel, series }: Plot): string {
  const points = series.flatMap((entry) => entry.points);
  const xs = ticks(
    points.map(([x]) => x),
    8,
  );
  const ys = ticks([0, ...points.map(([, y]) => y)], 6);
  const toX = scale(xs, area.left, area.right);
  const toY = scale(ys, area.bottom, area.top);
  const parts = [
    ...ys.map((y) => gridLine(toY(y), formatNumber(y))),
    ...xs.map((x) => text(toX(x), area.bottom + 16, "middle", formatNumber(x))),
    text((area.left + area.right) / 2, height - 6, "middle", xLabel),
    `<g transform="rotate(-90)">${text(-(area.top + area.bottom) / 2, 14, "middle", yLabel)}</g>`,
    ...series.map((entry, index) => curve(entry, index, toX, toY)),
  ];
  const legend = series.map(({ name }, index) => `<li class="${classOf(index)}">${escapeHtml(name)}</li>`);
  return `<figure><figcaption>${escapeHtml(title)}</figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${parts.join("\n")}</svg>
<ul class="legend">${legend.join("")}</ul></figure>`;
}

/** About `count` round values that cover all `values`. */
function ticks(values: readonly number[], count: number): number[] {
  const low = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (!Number.isFinite(high - low)) return [0, 1];
  const rough = (high > low ? high - low : Math.abs(high) || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10) * power;
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step));
  // Multiplied, not added up, and rounded: 3 * 0.1 must read 0.3.
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Maps the range of the ticks to pixels. */
function scale(marks: readonly number[], from: number, to: number): (value: number) => number {
  const low = marks[0]!;
  const high = marks.at(-1)!;
  return (value) => Math.round((from + ((value - low) / (high - low)) * (to - from)) * 10) / 10;
}

function curve(
  { name, points }: Series,
  index: number,
  toX: (x: number) => number,
  toY: (y: number) => number,
): string {
  const at = points.map(([x, y]) => `${toX(x)},${toY(y)}`);
  const marks = points.map(([x, y], i) => {
    const [cx, cy] = at[i]!.split(",");
    const label = `${escapeHtml(name)}: ${formatNumber(x)}, ${formatNumber(y)}`;
    return `<circle cx="${cx}" cy="${cy}" r="3"><title>${label}</title></circle>`;
  });
  return `<g class="${classOf(index)}"><polyline points="${at.join(" ")}"/>${marks.join("")}</g>`;
}

function classOf(index: number): string {
  return `c${index % colours.length}`;
}

function gridLine(y: number, label: string): string {
  const line = `<line x1="${area.left}" x2="${area.right}" y1="${y}" y2="${y}"/>`;
  return line + text(area.left - 6, y + 4, "end", label);
}

function text(x: number, y: number, anchor: "middle" | "end", content: string): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
}
