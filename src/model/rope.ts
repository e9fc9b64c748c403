import type { Rope } from "../ggml/context.ts";
import { type ArchitectureKeys, bounds, require } from "./architecture-keys.ts";

/** How the context of a model was stretched beyond what it was first trained for. */
const scalings = ["none", "linear", "yarn", "longrope"];

/** @throws StowageError gguf_metadata_type, model_invalid */
export function ropeScaling(keys: ArchitectureKeys): string {
  const key = keys.key("rope.scaling.type");
  const type = keys.metadata.string(key, "linear");
  require(scalings.includes(type), key, type, scalings.join(", "));
  return type;
}

/** Shape and context of a model whose RoPE is read. */
interface RopeShape {
  readonly mode: Rope["mode"];
  readonly dimensions: number;
  readonly contextTrained: number;
}

/**
 * How positions are rotated, as the file tells it. `linear` multiplies them; `yarn` does so at low frequencies only;
 * the factors of `longrope` and of Llama 3 are tensors, see `rope-factors.ts`.
 * @throws StowageError gguf_metadata_type, model_invalid
 */
export function readRope(keys: ArchitectureKeys, { mode, dimensions, contextTrained }: RopeShape): Rope {
  const type = ropeScaling(keys);
  const old = keys.real("rope.scale_linear", 0, 1e6, 0);
  const factor = type === "none" ? 0 : keys.real("rope.scaling.factor", 0, 1e6, old);
  const scale = factor === 0 ? 1 : 1 / factor;
  return {
    mode,
    dimensions,
    base: keys.real("rope.freq_base", 1, 1e12, 10_000),
    scale,
    contextOriginal: keys.whole("rope.scaling.original_context_length", 1, bounds.context, contextTrained),
    extrapolation: type === "yarn" ? 1 : 0,
    attentionFactor: keys.real("rope.scaling.attn_factor", 0, 1e3, 1),
    betaFast: keys.real("rope.scaling.yarn_beta_fast", 0, 1e6, 32),
    betaSlow: keys.real("rope.scaling.yarn_beta_slow", 0, 1e6, 1),
  };
}

/**
 * With YaRN, rotated elements grow by 1 + 0.1 · ln(stretch); ggml sees to that. Some models were trained with so many
 * times as little of it.
 * @param multiplier what the growth of the others is; 0 for a model that has them all
 */
export function withLessGrowth(rope: Rope, multiplier: number): Rope {
  if (rope.extrapolation === 0 || multiplier === 0 || rope.scale >= 1) return rope;
  const growth = -Math.log(rope.scale) / 10;
  return { ...rope, attentionFactor: rope.attentionFactor / (1 + multiplier * growth) };
}
