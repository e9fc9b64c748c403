/** A card for each model. */
import type { Status } from "../../schemas/status.ts";
import { ask, post } from "../shared/api.ts";
import { byId, element, setText } from "../shared/dom.ts";
import { failureIn } from "../shared/failure.ts";
import { failureCard } from "../shared/failure-card.ts";
import { formatAge, formatBytes, formatCount } from "../shared/format.ts";
import { twoStep } from "../shared/two-step.ts";

type Model = Status["models"][number];

export class ModelCards {
  readonly #root = byId("models", HTMLElement);
  readonly #cards = new Map<string, ModelCard>();

  show({ models, now }: Status): void {
    const names = new Set(models.map(({ name }) => name));
    for (const [name, card] of this.#cards) {
      if (names.has(name)) continue;
      card.root.remove();
      this.#cards.delete(name);
    }
    for (const model of models) {
      const card = this.#cards.get(model.name) ?? this.#add(model);
      card.show(model, now);
    }
  }

  #add({ name }: Model): ModelCard {
    const card = new ModelCard(name);
    this.#cards.set(name, card);
    this.#root.append(card.root);
    return card;
  }
}

/** Kept from status to status, so that the focus stays on its button. */
class ModelCard {
  readonly root: HTMLElement;
  readonly #name: string;
  readonly #state = element("span", { class: "state" });
  readonly #path = element("p", { class: "path" });
  readonly #problem = element("div");
  readonly #facts = element("dl", { class: "facts" });
  readonly #values = new Map<string, HTMLElement>();
  readonly #unload = element("button", { type: "button", class: "small" }, "Unload");
  readonly #unloadFailure = element("div");
  #shownProblem = "";

  constructor(name: string) {
    this.#name = name;
    twoStep(
      this.#unload,
      () => "Really unload?",
      () => void this.#ask(),
    );
    const head = element("div", { class: "card-head" }, element("h3", {}, name), this.#state);
    this.root = element(
      "article",
      { class: "card model", "aria-label": name },
      head,
      this.#path,
      this.#problem,
      this.#facts,
      this.#unloadFailure,
      element("div", { class: "card-foot" }, this.#unload),
    );
  }

  show(model: Model, now: number): void {
    setText(this.#state, model.state);
    this.#state.dataset.state = model.state;
    setText(this.#path, model.path);
    this.#path.title = model.path;
    this.#showProblem(model.problem);
    for (const [label, value] of factsOf(model, now)) {
      const node = this.#value(label);
      setText(node, value ?? "");
      node.parentElement!.hidden = value === undefined;
    }
    this.#unload.hidden = model.state !== "ready" && model.state !== "loading";
  }

  #showProblem(problem: Model["problem"]): void {
    const key = JSON.stringify(problem);
    if (key === this.#shownProblem) return;
    this.#shownProblem = key;
    this.#problem.replaceChildren(...(problem === null ? [] : [failureCard(problem)]));
  }

  #value(label: string): HTMLElement {
    const known = this.#values.get(label);
    if (known !== undefined) return known;
    const value = element("dd");
    this.#values.set(label, value);
    this.#facts.append(element("div", {}, element("dt", {}, label), value));
    return value;
  }

  async #ask(): Promise<void> {
    this.#unload.disabled = true;
    try {
      await ask("/api/models/unload", post({ model: this.#name }));
      this.#unloadFailure.replaceChildren();
    } catch (error) {
      this.#unloadFailure.replaceChildren(failureCard(failureIn(error)));
    }
    this.#unload.disabled = false;
  }
}

function factsOf(model: Model, now: number): [label: string, value: string | undefined][] {
  const { memory, experts } = model;
  const asked = experts === null ? 0 : experts.hits + experts.misses + experts.late;
  return [
    ["architecture", model.architecture ?? undefined],
    ["context", model.context_tokens === null ? undefined : `${formatCount(model.context_tokens)} tokens`],
    ["sequences", sequencesOf(model)],
    ["memory", memory === null ? undefined : `${formatBytes(memory.total)} planned`],
    ["KV cells", kvOf(model)],
    ["prompt", `${formatCount(model.prompt_tokens_total)}, ${formatCount(model.cached_tokens_total)} cached`],
    ["generated", formatCount(model.generated_tokens_total)],
    ["expert hits", asked === 0 ? undefined : `${((experts!.hits / asked) * 100).toFixed(1)} %`],
    ["routing is recorded", recordingOf(model)],
    ["restarts", String(model.restarts)],
    ["process", model.pid?.toString()],
    ["last used", model.last_used === null ? "never" : `${formatAge(now - model.last_used)} ago`],
    ["unloads", model.expires_at === null ? undefined : `in ${formatAge(model.expires_at - now)}`],
  ];
}

function sequencesOf({ running, waiting, paused, max_sequences }: Model): string {
  const most = max_sequences === null ? "" : ` of ${max_sequences}`;
  return `${running}${most}, ${waiting} waiting${paused > 0 ? `, ${paused} paused` : ""}`;
}

function recordingOf({ recording }: Model): string | undefined {
  if (recording === null) return undefined;
  if (recording.failure !== null) return `no more: ${recording.failure}`;
  return `${formatCount(recording.tokens)} tokens into ${recording.path}`;
}

function kvOf({ kv_cells, kv_cells_used }: Model): string | undefined {
  return kv_cells === 0 ? undefined : `${formatCount(kv_cells_used)} of ${formatCount(kv_cells)}`;
}
