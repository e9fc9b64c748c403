import { formatBytes, formatDuration } from "../workload/format.ts";

/** What a progress line is written to: a terminal, or something else that then gets nothing. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface ProgressOptions {
  /** What is being done, such as "Reading model.gguf". */
  readonly label: string;
  /** How many of the unit there are in all; undefined when not known. */
  readonly total?: number | undefined;
  readonly unit: "bytes" | "tokens" | "requests";
  /** Default: stderr. */
  readonly stream?: ProgressStream;
  /** Milliseconds from any fixed point; default: `performance.now`. */
  readonly now?: () => number;
}

const redrawMs = 100;
const windowMs = 5000;

/**
 * One line on a terminal that says how far a long job is, at which rate (over the last 5 s) and how much time is left. Writes
 * nothing when the stream is not a terminal.
 */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  /** What was done at which time, oldest first, within the window. */
  readonly #samples: { time: number; done: number }[];
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#stream = options.stream ?? process.stderr;
    this.#now = options.now ?? (() => performance.now());
    this.#samples = [{ time: this.#now(), done: 0 }];
  }

  /**
   * Tells how many of the unit are done by now, counted from the start.
   * @param note what is known by now, such as an estimate
   */
  update(done: number, note?: string): void {
    if (this.#stream.isTTY !== true) return;
    const time = this.#now();
    if (time - this.#drawnAt < redrawMs && done !== this.#options.total) return;
    this.#drawnAt = time;
    this.#samples.push({ time, done });
    while (this.#samples.length > 2 && time - this.#samples[0]!.time > windowMs) this.#samples.shift();
    this.#stream.write(`\r\x1b[2K${this.#line(done, note).slice(0, (this.#stream.columns ?? 80) - 1)}`);
  }

  /** Takes the line away: what comes next on the terminal starts where it stood. */
  finish(): void {
    if (this.#stream.isTTY === true && this.#drawnAt > Number.NEGATIVE_INFINITY)
      this.#stream.write("\r\x1b[2K");
  }

  #line(done: number, note: string | undefined): string {
    const { label, total, unit } = this.#options;
    const amount = (count: number) =>
      unit === "bytes" ? formatBytes(count) : `${Math.round(count)} ${unit}`;
    const perSecond = this.#rate();
    const shown = note === undefined ? label : `${label}  ${note}`;
    const parts = [shown, total === undefined ? amount(done) : `${amount(done)} of ${amount(total)}`];
    if (total !== undefined && total > 0) parts.push(`${Math.floor((100 * done) / total)} %`);
    if (perSecond > 0)
      parts.push(unit === "bytes" ? `${formatBytes(perSecond)}/s` : `${perSecond.toFixed(1)} ${unit}/s`);
    if (perSecond > 0 && total !== undefined)
      parts.push(`${formatDuration((1000 * (total - done)) / perSecond)} left`);
    return parts.join("  ");
  }

  /** How many of the unit a second over the window; 0 when nothing is known yet. */
  #rate(): number {
    const first = this.#samples[0]!;
    const last = this.#samples.at(-1)!;
    return last.time > first.time ? (1000 * (last.done - first.done)) / (last.time - first.time) : 0;
  }
}
