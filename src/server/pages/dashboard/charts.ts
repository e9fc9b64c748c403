/** The charts of the dashboard. */
import type { Status } from "../../schemas/status.ts";
import { byId, setText } from "../shared/dom.ts";
import { formatCount, formatMs, formatRate } from "../shared/format.ts";
import { Chart, type Curve } from "./chart.ts";
import type { Sample } from "./samples.ts";

type Metric = keyof Status["latency"];

const percent = (share: number) => `${Math.round(share * 100)} %`;
const megabytes = (rate: number) => `${formatRate(rate)} MB/s`;

function latencyCurves(metric: Metric): Curve<Sample>[] {
  return (["p50", "p90", "p99"] as const).map((rank, index) => ({
    label: rank,
    colour: (index + 1) as 1 | 2 | 3,
    value: ({ latency }) => latency?.[metric]?.[rank] ?? null,
  }));
}

/** A curve for each model, as far as there are colours. */
function modelsIn(samples: readonly Sample[]): string[] {
  return [...new Set(samples.flatMap(({ kvShare }) => [...kvShare.keys()]))].slice(0, 5);
}

function kvCurves(names: readonly string[]): Curve<Sample>[] {
  return names.map((name, index) => ({
    label: name,
    colour: (index + 1) as 1 | 2 | 3 | 4 | 5,
    isFilled: names.length === 1,
    value: ({ kvShare }) => kvShare.get(name) ?? null,
  }));
}

export class Charts {
  readonly #tokens = new Chart<Sample>(
    byId("chart-tokens", HTMLElement),
    { format: formatRate, least: 10, isWhole: true },
    [
      { label: "generated", colour: 1, isFilled: true, value: ({ generatedRate }) => generatedRate },
      { label: "prompt", colour: 2, value: ({ promptRate }) => promptRate },
    ],
  );
  readonly #requests = new Chart<Sample>(
    byId("chart-requests", HTMLElement),
    { format: formatCount, least: 4, isWhole: true },
    [
      { label: "running", colour: 1, isFilled: true, value: ({ running }) => running },
      { label: "waiting", colour: 3, value: ({ waiting }) => waiting },
    ],
  );
  readonly #latency: Chart<Sample>;
  readonly #kv = new Chart<Sample>(
    byId("chart-kv", HTMLElement),
    { format: percent, least: 0.25, most: 1 },
    [],
  );
  #kvModels: readonly string[] = [];
  readonly #experts = new Chart<Sample>(
    byId("chart-experts", HTMLElement),
    { format: percent, formatRight: megabytes, least: 1, most: 1 },
    [
      { label: "hit rate", colour: 1, value: ({ hitRate }) => hitRate },
      {
        label: "read",
        colour: 3,
        isRight: true,
        value: ({ readRate }) => (readRate === null ? null : readRate / 1e6),
      },
    ],
  );

  constructor() {
    const choice = byId("latency-metric", HTMLSelectElement);
    const curves = () => latencyCurves(choice.value as Metric);
    this.#latency = new Chart<Sample>(
      byId("chart-latency", HTMLElement),
      { format: formatMs, least: 1 },
      curves(),
    );
    choice.addEventListener("change", () => {
      this.#latency.setCurves(curves());
    });
  }

  show(samples: readonly Sample[]): void {
    const models = modelsIn(samples);
    if (models.join("\n") !== this.#kvModels.join("\n")) {
      this.#kvModels = models;
      this.#kv.setCurves(kvCurves(models));
    }
    for (const chart of this.#all()) chart.show(samples);
    const hasExperts = samples.some(({ readRate }) => readRate !== null);
    byId("experts-card", HTMLElement).hidden = !hasExperts;
  }

  redraw(): void {
    for (const chart of this.#all()) chart.redraw();
  }

  #all(): Chart<Sample>[] {
    return [this.#tokens, this.#requests, this.#latency, this.#kv, this.#experts];
  }
}

/** The percentiles of now, as a table. */
export function showLatency(latency: Status["latency"]): void {
  for (const [metric, values] of Object.entries(latency)) {
    for (const rank of ["p50", "p90", "p99"] as const) {
      const cell = byId(`${metric}-${rank}`, HTMLElement);
      setText(cell, values === null ? "–" : formatMs(values[rank]));
    }
  }
}
