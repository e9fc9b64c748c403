/** Memory by kind and model, against the budget. */
import type { Status } from "../../schemas/status.ts";
import { byId, element, setText } from "../shared/dom.ts";
import { formatBytes } from "../shared/format.ts";

type Model = Status["models"][number];

const kinds = ["weights", "experts", "kv", "compute"] as const;
const names = { weights: "weights", experts: "experts", kv: "KV cache", compute: "working memory" };

export function showMemory({ memory, models }: Status): void {
  const loaded = models.filter((model) => model.memory !== null);
  const rows = byId("memory-rows", HTMLElement);
  const { budget, planned, gateway_resident } = memory;
  const free = Math.max(0, budget - planned);
  setText(
    byId("memory-summary", HTMLElement),
    `${formatBytes(planned)} of ${formatBytes(budget)} planned, ${formatBytes(free)} free; the gateway itself holds ${formatBytes(gateway_resident)}. The first bar is measured against the budget, those of models against the largest model.`,
  );
  const largest = Math.max(1, ...loaded.map((model) => model.memory!.total));
  const all = totalRow(loaded, budget, Math.max(budget, planned, 1));
  // A small model in a large budget would be a line too thin to read: models are drawn beside the largest of them.
  rows.replaceChildren(all, ...loaded.map((model) => modelRow(model, largest)));
}

/** All models behind each other: how full the budget is. */
function totalRow(models: readonly Model[], budget: number, scale: number): HTMLElement {
  const parts = models.flatMap((model) => partsOf(model, scale));
  const total = models.reduce((sum, { memory }) => sum + (memory?.total ?? 0), 0);
  const share = `${Math.round((total / Math.max(1, budget)) * 100)} % of the budget`;
  return row("all models", parts, formatBytes(total), share);
}

function modelRow(model: Model, scale: number): HTMLElement {
  const { total, resident } = model.memory!;
  return row(model.name, partsOf(model, scale), formatBytes(total), `${formatBytes(resident)} resident`);
}

function row(name: string, parts: readonly HTMLElement[], total: string, note: string): HTMLElement {
  return element(
    "div",
    { class: "memory-row" },
    element("span", { class: "memory-name", title: name }, name),
    element(
      "div",
      { class: "memory-bar", role: "img", "aria-label": `${name}: ${total}, ${note}` },
      ...parts,
    ),
    element("span", { class: "memory-total" }, total, element("small", {}, note)),
  );
}

function partsOf({ name, memory }: Model, scale: number): HTMLElement[] {
  return kinds
    .filter((kind) => memory![kind] > 0)
    .map((kind) => {
      const title = `${name}: ${formatBytes(memory![kind])} of ${names[kind]}`;
      const part = element("span", { class: `memory-part kind-${kind}`, title });
      part.style.width = `${(memory![kind] / scale) * 100}%`;
      return part;
    });
}
