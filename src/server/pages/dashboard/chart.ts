/** A chart of the last minutes, drawn by uPlot in the colours of the page. */
import type { AlignedData, Axis, Options, Series } from "uplot";
import uPlot from "../vendor/uPlot.esm.js";
import { colourOf } from "./colours.ts";
import { spanMs } from "./samples.ts";

/** What a chart has a point of each curve for. */
interface Timed {
  /** Unix ms. */
  readonly time: number;
}

export interface Curve<S extends Timed> {
  readonly label: string;
  /** One of the page's colours: `--curve-1` and so on. */
  readonly colour: 1 | 2 | 3 | 4 | 5;
  readonly value: (sample: S) => number | null;
  readonly isFilled?: boolean;
  /** Reads its own axis at the right. */
  readonly isRight?: boolean;
}

export interface ChartOptions {
  readonly format: (value: number) => string;
  /** Of the axis at the right. */
  readonly formatRight?: (value: number) => string;
  /** The axis goes at least so far. */
  readonly least: number;
  /** It goes no further. */
  readonly most?: number;
  /** Only whole numbers stand at the axis. */
  readonly isWhole?: boolean;
}

const height = 190;
/** Steps between the marks of an axis. */
const decimalSteps = [-3, -2, -1, 0, 1, 2, 3, 4, 5, 6].flatMap((exponent) =>
  [1, 2, 5].map((step) => step * 10 ** exponent),
);
const minuteSteps = [60, 120, 300];
const wholeSteps = decimalSteps.filter((step) => step >= 1);
const font = "11px system-ui, sans-serif";

export class Chart<S extends Timed> {
  readonly #root: HTMLElement;
  readonly #options: ChartOptions;
  #curves: readonly Curve<S>[] = [];
  #samples: readonly S[] = [];
  #plot: uPlot | undefined;

  constructor(root: HTMLElement, options: ChartOptions, curves: readonly Curve<S>[]) {
    this.#root = root;
    this.#options = options;
    this.#curves = curves;
    this.redraw();
    new ResizeObserver(() => this.#fit()).observe(this.#root);
  }

  /** Draws other curves from now on. */
  setCurves(curves: readonly Curve<S>[]): void {
    this.#curves = curves;
    this.redraw();
  }

  show(samples: readonly S[]): void {
    this.#samples = samples;
    this.#plot?.setData(this.#data());
    this.#showLatest();
  }

  /** Draws anew, in the colours that hold now. */
  redraw(): void {
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#plotOptions(), this.#data(), this.#root);
    this.#showLatest();
  }

  /** Where no pointer asks for another moment, the legend tells the latest values. */
  #showLatest(): void {
    const hasPointer = (this.#plot?.cursor.left ?? -1) >= 0;
    if (!hasPointer && this.#samples.length > 0)
      this.#plot?.setLegend({ idx: this.#samples.length - 1 }, false);
  }

  #fit(): void {
    const width = this.#root.clientWidth;
    if (width > 0 && this.#plot?.width !== width) this.#plot?.setSize({ width, height });
  }

  #data(): AlignedData {
    const times = this.#samples.map(({ time }) => time / 1000);
    return [times, ...this.#curves.map(({ value }) => this.#samples.map(value))] as AlignedData;
  }

  #plotOptions(): Options {
    const { format, formatRight, isWhole } = this.#options;
    const incrs = isWhole ? wholeSteps : decimalSteps;
    const last = () => (this.#samples.at(-1)?.time ?? Date.now()) / 1000;
    return {
      width: Math.max(200, this.#root.clientWidth),
      height,
      padding: [10, formatRight === undefined ? 12 : 0, 0, 0],
      cursor: { points: { size: 6 }, drag: { x: false, y: false }, y: false },
      legend: { live: true },
      scales: {
        x: { time: true, range: () => [last() - spanMs / 1000, last()] },
        y: { range: (_plot, _min, max) => this.#range(max) },
        right: { range: (_plot, _min, max) => [0, (max ?? 0) > 0 ? max * 1.15 : 1] },
      },
      axes: [
        {
          ...this.#axis(),
          space: 50,
          size: 26,
          incrs: minuteSteps,
          values: (_plot, times) => times.map(minutes),
        },
        { ...this.#axis(), size: 58, incrs, values: (_plot, values) => values.map(format) },
        ...(formatRight === undefined
          ? []
          : [
              {
                ...this.#axis(),
                scale: "right",
                side: 1 as const,
                size: 70,
                grid: { show: false },
                values: (_plot: uPlot, values: number[]) => values.map(formatRight),
              },
            ]),
      ],
      series: [{ label: "", value: (_plot, time) => (time === null ? "" : clock(time)) }, ...this.#series()],
    };
  }

  #range(max: number | null): [number, number] {
    const { least, most } = this.#options;
    const top = Math.max(least, (max ?? 0) * 1.15);
    return [0, most === undefined ? top : Math.min(most, top)];
  }

  #axis(): Axis {
    const line = colourOf("--border");
    return {
      stroke: colourOf("--muted"),
      font,
      gap: 6,
      ticks: { show: false },
      grid: { stroke: line, width: 1 },
    };
  }

  #series(): Series[] {
    const { format, formatRight } = this.#options;
    return this.#curves.map(({ label, colour, isFilled, isRight }) => {
      const stroke = colourOf(`--curve-${colour}`);
      const say = (isRight && formatRight) || format;
      return {
        label,
        stroke,
        width: 1.6,
        scale: isRight ? "right" : "y",
        points: { show: false },
        ...(isFilled && { fill: stroke.replace(/^rgb\((.*)\)$/, "rgba($1, 0.12)") }),
        value: (_plot: uPlot, value: number | null) => (value === null ? "–" : say(value)),
      };
    });
  }
}

function minutes(seconds: number): string {
  return clock(seconds).slice(0, 5);
}

function clock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
