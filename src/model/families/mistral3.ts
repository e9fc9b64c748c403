import { ArchitectureKeys, require } from "../architecture-keys.ts";
import type { Family } from "../family.ts";
import { withLessGrowth } from "../rope.ts";
import { llama } from "./llama.ts";

/** Mistral 3 (Ministral 3): Llama with YaRN. */
export const mistral3: Family = {
  ...llama,
  name: "mistral3",
  read(metadata) {
    const h = llama.read(metadata);
    const keys = new ArchitectureKeys(metadata);
    const temperature = "attention.temperature_scale";
    const scale = keys.real(temperature, 0, 1e3, 0);
    require(scale === 0, keys.key(
      temperature,
    ), scale, "0 (scores that grow with positions are not supported yet)");
    const multiplier = keys.real("rope.scaling.yarn_log_multiplier", 0, 100, 0);
    return { ...h, rope: withLessGrowth(h.rope, multiplier) };
  },
};
