/** The choice of a model. */
import { ask } from "../shared/api.ts";
import { byId, element } from "../shared/dom.ts";
import { type Failure, failureIn } from "../shared/failure.ts";

export class ModelChoice {
  readonly #select = byId("model", HTMLSelectElement);

  constructor(chosen: (model: string) => void) {
    this.#select.addEventListener("change", () => chosen(this.#select.value));
  }

  /** Asks the server for its models; returns what went wrong, if anything did. */
  async load(): Promise<Failure | undefined> {
    try {
      const response = await ask("/v1/models");
      const { data } = (await response.json()) as { data: { id: string }[] };
      this.#select.replaceChildren(...data.map(({ id }) => element("option", { value: id }, id)));
      this.#select.disabled = data.length === 0;
      return data.length === 0 ? noModels : undefined;
    } catch (error) {
      return failureIn(error);
    }
  }

  get model(): string {
    return this.#select.value;
  }

  /** Whether a model is being loaded; false where the server does not say. */
  async isLoading(model: string): Promise<boolean> {
    try {
      const response = await ask(`/v1/models/${encodeURIComponent(model)}`);
      const { state } = (await response.json()) as { state?: string };
      return state === "loading" || state === "unloaded";
    } catch {
      return false;
    }
  }

  /** Chooses a model if the server has it, else leaves the choice as it is; returns the choice. */
  choose(model: string): string {
    if ([...this.#select.options].some(({ value }) => value === model)) this.#select.value = model;
    return this.#select.value;
  }
}

const noModels: Failure = {
  message: "The server offers no model.",
  next: "Start it with a model, as in `stowage serve MODEL`.",
};
