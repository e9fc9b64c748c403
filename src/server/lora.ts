import { StowageError } from "../errors.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { AdapterChoice } from "../model/lora/adapters.ts";

/** The fields by which a request says what to compute with. */
export interface AdaptedBody {
  /** A model, or one with an adapter behind a colon. */
  readonly model: string;
  /** By name, or by number in the order in which the model's adapters were given. */
  readonly lora?:
    | readonly ({ readonly scale?: number | undefined } & (
        | { readonly name: string }
        | { readonly id: number }
      ))[]
    | null
    | undefined;
}

/**
 * The model of a request, and the adapters to compute with.
 * @throws StowageError request_invalid where model and `lora` both name some, lora_unknown, lora_twice
 */
export function adaptersOf(
  gateway: Gateway,
  { model: asked, lora }: AdaptedBody,
): { model: string; lora?: readonly AdapterChoice[] } {
  const { model, adapter } = gateway.resolve(asked);
  if (!lora) return adapter === undefined ? { model } : { model, lora: [{ name: adapter }] };
  if (adapter !== undefined) {
    const reason = `it does not go together with the model ${asked}, which has an adapter already`;
    throw new StowageError("request_invalid", { field: "lora", reason });
  }
  const names = gateway.adapters(model);
  const choices = lora.map(({ scale, ...which }) => {
    const name = "name" in which ? which.name : names[which.id];
    if (name !== undefined && names.includes(name)) return { name, ...(scale !== undefined && { scale }) };
    const shown = "name" in which ? JSON.stringify(which.name) : `number ${which.id}`;
    throw new StowageError("lora_unknown", {
      name: shown,
      loaded: names.join(", ") || "none",
      field: "lora",
    });
  });
  if (new Set(choices.map(({ name }) => name)).size < choices.length) {
    throw new StowageError("request_invalid", { field: "lora", reason: "it names an adapter twice" });
  }
  return { model, lora: choices };
}
