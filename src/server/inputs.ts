import type { Input } from "./generation.ts";

/** Text, its tokens, or several of either, as fields of OpenAI's API hold them. */
export type Texts = string | readonly number[] | readonly string[] | readonly (readonly number[])[];

/** What a field asks the engine to start from, one by one. */
export function inputsIn(field: string, texts: Texts): Input[] {
  if (typeof texts === "string") return [{ input: { text: texts }, field }];
  if (isTokens(texts)) return [{ input: { tokens: [...texts] }, field }];
  return texts.map((one, index) => ({
    input: typeof one === "string" ? { text: one } : { tokens: [...one] },
    field: `${field}[${index}]`,
  }));
}

function isTokens(texts: Exclude<Texts, string>): texts is readonly number[] {
  return typeof texts[0] === "number";
}
