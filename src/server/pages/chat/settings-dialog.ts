/** The dialog of system prompt and sampling. */
import { byId, element } from "../shared/dom.ts";
import type { Settings } from "./conversation.ts";

type NumberKey = Exclude<keyof Settings, "system">;

interface Field {
  readonly key: NumberKey;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max: number;
  readonly step: "any" | "1";
}

const fields: readonly Field[] = [
  {
    key: "temperature",
    label: "Temperature",
    hint: "0 always takes the likeliest",
    min: 0,
    max: 10,
    step: "any",
  },
  {
    key: "top_p",
    label: "Top P",
    hint: "likeliest tokens, together this likely",
    min: 0,
    max: 1,
    step: "any",
  },
  {
    key: "top_k",
    label: "Top K",
    hint: "this many likeliest tokens; 0: all",
    min: 0,
    max: 1_000_000,
    step: "1",
  },
  { key: "min_p", label: "Min P", hint: "share of the likeliest", min: 0, max: 1, step: "any" },
  { key: "repeat_penalty", label: "Repeat penalty", hint: "1 is none", min: 0.01, max: 100, step: "any" },
  {
    key: "max_tokens",
    label: "Most tokens",
    hint: "length of an answer",
    min: 1,
    max: 10_000_000,
    step: "1",
  },
  { key: "seed", label: "Seed", hint: "same seed, same answer", min: 0, max: 4_294_967_295, step: "1" },
];

export class SettingsDialog {
  readonly #dialog = byId("settings", HTMLDialogElement);
  readonly #form = byId("settings-form", HTMLFormElement);
  readonly #system = byId("system", HTMLTextAreaElement);
  readonly #inputs = new Map<NumberKey, HTMLInputElement>();

  constructor(saved: (settings: Settings) => void) {
    byId("sampling", HTMLDivElement).append(...fields.map((field) => this.#field(field)));
    this.#form.addEventListener("submit", () => saved(this.#read()));
    byId("settings-reset", HTMLButtonElement).addEventListener("click", () => this.#show({ system: "" }));
    byId("settings-cancel", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
  }

  open(settings: Settings): void {
    this.#show(settings);
    this.#dialog.showModal();
  }

  #field({ key, label, hint, min, max, step }: Field): HTMLElement {
    const id = `setting-${key}`;
    const input = element("input", {
      id,
      type: "number",
      min: String(min),
      max: String(max),
      step,
      placeholder: "default",
      "aria-describedby": `${id}-hint`,
    });
    this.#inputs.set(key, input);
    return element(
      "div",
      { class: "field" },
      element("label", { for: id }, label),
      input,
      element("p", { class: "hint", id: `${id}-hint` }, hint),
    );
  }

  #show(settings: Settings): void {
    this.#system.value = settings.system;
    for (const [key, input] of this.#inputs) input.value = settings[key]?.toString() ?? "";
  }

  /** Empty fields are left out, so that the server's defaults hold. */
  #read(): Settings {
    const numbers = [...this.#inputs]
      .filter(([, input]) => input.value !== "" && Number.isFinite(input.valueAsNumber))
      .map(([key, input]) => [key, input.valueAsNumber]);
    return { system: this.#system.value, ...Object.fromEntries(numbers) };
  }
}
