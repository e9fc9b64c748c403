import { StowageError } from "../errors.ts";
import { bert } from "./families/bert.ts";
import { deepseek2 } from "./families/deepseek2.ts";
import { gemma } from "./families/gemma.ts";
import { gemma2 } from "./families/gemma2.ts";
import { gemma3 } from "./families/gemma3.ts";
import { glm4moe } from "./families/glm4moe.ts";
import { gptOss } from "./families/gpt-oss.ts";
import { llama } from "./families/llama.ts";
import { mistral3 } from "./families/mistral3.ts";
import { nomicBert } from "./families/nomic-bert.ts";
import { olmoe } from "./families/olmoe.ts";
import { phi3 } from "./families/phi3.ts";
import { phimoe } from "./families/phimoe.ts";
import { qwen2 } from "./families/qwen2.ts";
import { qwen2moe } from "./families/qwen2moe.ts";
import { qwen3 } from "./families/qwen3.ts";
import { qwen3moe } from "./families/qwen3moe.ts";
import { smallthinker } from "./families/smallthinker.ts";
import type { Family } from "./family.ts";

/** Every architecture that can be run. */
export const families: readonly Family[] = [
  olmoe,
  qwen3moe,
  llama,
  mistral3,
  qwen3,
  qwen2,
  qwen2moe,
  phi3,
  phimoe,
  gemma,
  gemma2,
  gemma3,
  glm4moe,
  deepseek2,
  gptOss,
  smallthinker,
  bert,
  nomicBert,
];

/** @throws StowageError model_architecture listing the known ones */
export function familyOf(architecture: string): Family {
  const family = families.find(({ name }) => name === architecture);
  if (family) return family;
  const known = families.map(({ name }) => name).join(", ");
  throw new StowageError("model_architecture", { architecture, known });
}
