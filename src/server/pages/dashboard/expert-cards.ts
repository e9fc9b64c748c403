/** A card for each model whose experts have a budget: which are in memory, and what came of reading them. */
import type { Experts } from "../../schemas/experts.ts";
import type { Status } from "../../schemas/status.ts";
import { ask } from "../shared/api.ts";
import { byId, element, setText } from "../shared/dom.ts";
import { formatBytes, formatCount, formatRate } from "../shared/format.ts";
import { Chart } from "./chart.ts";
import { LayerTable } from "./layer-table.ts";
import { MapLegend } from "./map-legend.ts";
import { type OutcomeSample, OutcomeSamples } from "./outcome-samples.ts";
import { OutcomeBars, PolicyTable, percent } from "./outcomes.ts";
import { ResidencyMap } from "./residency-map.ts";

/** How long a map is waited for, ms. */
const patience = 5000;
/** With more experts than this a layer, the map gets a row of its own. */
const mostBeside = 64;

export class ExpertCards {
  readonly #root = byId("expert-cards", HTMLElement);
  readonly #cards = new Map<string, ExpertCard>();

  /** Keeps the curves, whether anybody looks or not. */
  push({ models, now }: Status): void {
    for (const { name, experts } of models) {
      if (experts === null) this.#remove(name);
      else (this.#cards.get(name) ?? this.#add(name)).push(now, experts);
    }
    const names = new Set(models.map(({ name }) => name));
    for (const name of this.#cards.keys()) if (!names.has(name)) this.#remove(name);
  }

  draw(): void {
    for (const card of this.#cards.values()) card.draw();
  }

  redraw(): void {
    for (const card of this.#cards.values()) card.redraw();
  }

  #add(name: string): ExpertCard {
    const card = new ExpertCard(name);
    this.#cards.set(name, card);
    this.#root.append(card.root);
    return card;
  }

  #remove(name: string): void {
    this.#cards.get(name)?.root.remove();
    this.#cards.delete(name);
  }
}

class ExpertCard {
  readonly root: HTMLElement;
  readonly #name: string;
  readonly #facts = element("p", { class: "hint" });
  readonly #says = element("p", { class: "hint says" });
  readonly #hitRate = element("strong", {}, "–");
  readonly #map = new ResidencyMap();
  readonly #legend = new MapLegend();
  readonly #layers = new LayerTable();
  readonly #bars = new OutcomeBars();
  readonly #policies = new PolicyTable();
  readonly #samples = new OutcomeSamples();
  readonly #chart: Chart<OutcomeSample>;
  #isSeen = false;
  #isAsking = false;

  constructor(name: string) {
    this.#name = name;
    const plot = element("div", { class: "chart" });
    this.#chart = new Chart<OutcomeSample>(plot, { format: formatRate, least: 10, isWhole: true }, [
      { label: "read ahead in time", colour: 2, value: ({ useful }) => useful },
      { label: "late", colour: 3, value: ({ late }) => late },
      { label: "in vain", colour: 4, value: ({ wasted }) => wasted },
      { label: "missed", colour: 5, value: ({ missed }) => missed },
    ]);
    const rate = element("p", { class: "hit-rate" }, this.#hitRate, " there when wanted");
    const title = element("div", {}, element("h2", {}, `Experts of ${name}`), this.#facts);
    this.root = element(
      "article",
      { class: "card experts", "aria-label": `Experts of ${name}` },
      element("div", { class: "card-head" }, title, rate),
      element(
        "div",
        { class: "experts-body" },
        element("div", {}, this.#map.root, this.#legend.root, this.#layers.root, this.#bars.root),
        element("div", {}, element("h3", {}, "Experts a second"), plot),
      ),
      this.#policies.root,
      this.#says,
    );
    new IntersectionObserver(([entry]) => {
      this.#isSeen = entry?.isIntersecting ?? false;
      if (this.#isSeen) this.draw();
    }).observe(this.root);
  }

  push(now: number, totals: NonNullable<Status["models"][number]["experts"]>): void {
    this.#samples.push(now, totals);
  }

  /** The map is asked for only while somebody looks at it. */
  draw(): void {
    if (!this.#isSeen) return;
    this.#chart.show(this.#samples.all);
    void this.#ask();
  }

  redraw(): void {
    this.#chart.redraw();
    this.#map.draw();
    this.#legend.draw();
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const path = `/api/models/${encodeURIComponent(this.#name)}/experts`;
      const response = await ask(path, { signal: AbortSignal.timeout(patience) });
      this.#show((await response.json()) as Experts);
    } catch {
      // The model was unloaded just now, or the server is away: the status tells which.
    } finally {
      this.#isAsking = false;
    }
  }

  #show(experts: Experts): void {
    const {
      totals,
      layers,
      policy: { says },
    } = experts;
    const asked = totals.hits + totals.late + totals.misses;
    this.root.classList.toggle("is-wide", (layers[0]?.states.length ?? 0) > mostBeside);
    setText(this.#hitRate, asked === 0 ? "–" : percent(totals.hits / asked));
    setText(this.#facts, factsOf(experts));
    setText(this.#says, says === null ? "" : `The policy says: ${says}.`);
    this.#map.show(experts);
    this.#legend.show(experts.states);
    this.#layers.show(experts);
    this.#bars.show(totals);
    this.#policies.show(experts);
  }
}

/** Budget and policies. */
function factsOf({ slots, bytes, layers, policy }: Experts): string {
  const all = layers.reduce((sum, { states }) => sum + states.length, 0);
  const { eviction, prefetch, acting } = policy;
  const chosen = (name: string, now: string) => (name === now ? name : `${name}, now ${now}`);
  const ahead =
    prefetch === "none" ? "reads nothing ahead" : `reads ahead by ${chosen(prefetch, acting.prefetch)}`;
  return `${formatBytes(bytes)} for ${formatCount(slots)} of ${formatCount(all)} experts; evicts by ${chosen(eviction, acting.eviction)}; ${ahead}`;
}
