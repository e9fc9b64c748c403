import { basename } from "node:path";
import type { AdapterOption } from "../../model/lora/adapters.ts";
import type { Kind } from "./kinds.ts";

const form = /^(?:([^=,:]+)=([^,]+?)|([^=,]+?))(?:,([+-]?\d+(?:\.\d+)?))?$/;
const scaleForm = /^[+-]?\d+(?:\.\d+)?$/;

/** An adapter as flags name it, `[name=]path[,scale]`; undefined where it is none. */
export function parseAdapter(text: string): AdapterOption | undefined {
  const [, name, named, unnamed, scale] = form.exec(text.trim()) ?? [];
  const path = named ?? unnamed;
  if (path === undefined) return undefined;
  const given = { name: name?.trim() ?? basename(path).replace(/\.gguf$/i, ""), path };
  return scale === undefined ? given : { ...given, scale: Number(scale) };
}

/** Several adapters. In a variable commas stand between them too: what is a number alone is the scale of the one before. */
export const adapters: Kind<readonly AdapterOption[]> = {
  allowed: "adapters as [name=]path[,scale]",
  read: (raw, where) => {
    const texts = typeof raw !== "string" ? raw : where === "text" ? splitAtAdapters(raw) : [raw];
    if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string")) return undefined;
    const parsed = texts.map(parseAdapter);
    return parsed.every((adapter) => adapter !== undefined) ? parsed : undefined;
  },
  show: (value) => value.map(shown).join(", "),
};

function splitAtAdapters(text: string): string[] {
  const found: string[] = [];
  for (const part of text.split(",").map((part) => part.trim())) {
    const last = found.length - 1;
    if (scaleForm.test(part) && last >= 0) found[last] += `,${part}`;
    else found.push(part);
  }
  return found;
}

function shown({ name, path, scale }: AdapterOption): string {
  return `${name}=${path}${scale === undefined ? "" : `,${scale}`}`;
}
