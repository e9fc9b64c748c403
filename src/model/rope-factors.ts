import type { Tensor } from "../ggml/tensor.ts";
import type { StepParts } from "./blocks.ts";

/**
 * Factors of the wavelengths of RoPE one by one, F32 [dimensions / 2]: those of Llama 3, or of LongRoPE, which has one
 * set for contexts up to the original one and one for longer ones.
 */
export function ropeFactors({ globals, hyperparameters, contextTokens }: StepParts): Tensor | undefined {
  const long = contextTokens > hyperparameters.rope.contextOriginal;
  const name = `rope_factors_${long ? "long" : "short"}.weight`;
  return (globals.find("rope_freqs.weight") ?? globals.find(name))?.tensor;
}
