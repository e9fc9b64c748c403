import { deltaTensorRoom } from "./lora/deltas.ts";
import type { StepShape } from "./step.ts";

/** Graph tensors of one layer without experts, and of each sequence's attention in it. */
export const layerRoom = 96;
export const sequenceRoom = 10;

/** Graph tensors of so many layers in one graph. */
export function graphRoom(layers: number, shape: StepShape): number {
  const layer = layerRoom + shape.sequences.length * sequenceRoom + deltaTensorRoom(shape);
  return layers * layer + layerRoom + deltaTensorRoom(shape);
}
