/** The last minutes of the server's status as curves. Pure: it is told each status as it comes. */
import type { Status } from "../../schemas/status.ts";

/** How far back the curves go, ms. */
export const spanMs = 5 * 60_000;

/** A point of every curve; null where nothing is known. */
export interface Sample {
  /** Unix ms, by the server's clock. */
  readonly time: number;
  /** Tokens a second. */
  readonly promptRate: number | null;
  readonly generatedRate: number | null;
  readonly running: number | null;
  readonly waiting: number | null;
  readonly latency: Status["latency"] | null;
  /** Share of the experts that were in memory when they were wanted. */
  readonly hitRate: number | null;
  /** Bytes a second. */
  readonly readRate: number | null;
  /** Share of the KV cells in use, by model. */
  readonly kvShare: ReadonlyMap<string, number>;
}

const unknown = {
  promptRate: null,
  generatedRate: null,
  running: null,
  waiting: null,
  latency: null,
  hitRate: null,
  readRate: null,
  kvShare: new Map<string, number>(),
};

/** What is the sum of the models' numbers. */
interface Totals {
  readonly prompt: number;
  readonly generated: number;
  readonly hits: number;
  readonly misses: number;
  readonly late: number;
  readonly readBytes: number;
}

/** The samples of the last minutes, in the order of their times. */
export class RecentSamples<S extends { readonly time: number }> {
  #samples: S[] = [];

  get all(): readonly S[] {
    return this.#samples;
  }

  add(sample: S): void {
    const before = this.#samples.at(-1);
    // The server was started again with its clock set back: what was before has no place on this time axis.
    if (before !== undefined && sample.time < before.time) this.#samples = [];
    if (before !== undefined && sample.time === before.time) this.#samples.pop();
    this.#samples.push(sample);
    const oldest = sample.time - spanMs;
    const first = this.#samples.findIndex(({ time }) => time >= oldest);
    this.#samples.splice(0, first);
  }
}

export class Samples {
  readonly #recent = new RecentSamples<Sample>();
  #previous: Status | undefined;

  get all(): readonly Sample[] {
    return this.#recent.all;
  }

  push(status: Status): void {
    const seconds = (status.now - (this.#previous?.now ?? status.now)) / 1000;
    const change = this.#previous && seconds > 0 ? changeBetween(this.#previous, status) : undefined;
    const rate = (value: number | undefined) => (value === undefined ? null : value / seconds);
    const asked = change === undefined ? 0 : change.hits + change.misses + change.late;
    this.#recent.add({
      time: status.now,
      promptRate: rate(change?.prompt),
      generatedRate: rate(change?.generated),
      running: sumOf(status, ({ running }) => running),
      waiting: sumOf(status, ({ waiting }) => waiting),
      latency: status.latency,
      hitRate: change === undefined || asked === 0 ? null : change.hits / asked,
      readRate: status.models.some(({ experts }) => experts !== null) ? rate(change?.readBytes) : null,
      kvShare: new Map(
        status.models
          .filter(({ kv_cells }) => kv_cells > 0)
          .map(({ name, kv_cells, kv_cells_used }) => [name, kv_cells_used / kv_cells]),
      ),
    });
    this.#previous = status;
  }

  /** The server did not answer: the curves get a gap. */
  gap(): void {
    const last = this.all.at(-1);
    this.#previous = undefined;
    if (last !== undefined && last.running !== null) this.#recent.add({ ...unknown, time: last.time + 1 });
  }
}

/** How much the totals grew; undefined where they are those of another process. */
function changeBetween(before: Status, after: Status): Totals | undefined {
  if (before.pid !== after.pid) return undefined;
  const old = new Map(before.models.map((model) => [model.name, totalsOf(model)]));
  const change = { prompt: 0, generated: 0, hits: 0, misses: 0, late: 0, readBytes: 0 };
  for (const model of after.models) {
    const now = totalsOf(model);
    // A model that is new began at 0, and so did one whose engine was started again.
    const then = old.get(model.name);
    for (const key of Object.keys(change) as (keyof Totals)[]) {
      const base = then !== undefined && then[key] <= now[key] ? then[key] : 0;
      change[key] += now[key] - base;
    }
  }
  return change;
}

function totalsOf(model: Status["models"][number]): Totals {
  return {
    prompt: model.prompt_tokens_total,
    generated: model.generated_tokens_total,
    hits: model.experts?.hits ?? 0,
    misses: model.experts?.misses ?? 0,
    late: model.experts?.late ?? 0,
    readBytes: model.experts?.read_bytes ?? 0,
  };
}

function sumOf(status: Status, numberOf: (model: Status["models"][number]) => number): number {
  return status.models.reduce((sum, model) => sum + numberOf(model), 0);
}
