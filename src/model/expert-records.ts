import {
  type ExpertClass,
  type ExpertLayout,
  type ExpertMatrix,
  matrixAlignment,
  recordAlignment,
} from "../experts/layout.ts";
import type { GgufTensor } from "../gguf/read.ts";
import { expertWeights } from "./expert-network.ts";
import type { Placed, WeightLayout } from "./layout.ts";

/**
 * How the experts of a model are kept one by one: each as one record of the very matrices, in the very layout, that the
 * resident model has of all experts together, so that both compute the same numbers.
 * @returns undefined for a dense model
 */
export function planExpertRecords(layout: WeightLayout): ExpertLayout | undefined {
  const { experts, layers } = layout.hyperparameters;
  if (experts === 0) return undefined;
  const classes: ExpertClass[] = [];
  const layerClass: (number | null)[] = [];
  const sources: (readonly GgufTensor[])[][] = [];
  for (const weights of layout.layers) {
    const placed = [...new Set(expertWeights.flatMap((name) => weights.get(name) ?? []))];
    if (placed.length === 0) {
      layerClass.push(null);
      sources.push([]);
      continue;
    }
    const found = classFor(placed, weights);
    let index = classes.findIndex((known) => JSON.stringify(known) === JSON.stringify(found));
    if (index < 0) index = classes.push(found) - 1;
    layerClass.push(index);
    sources.push(placed.map(({ parts }) => parts));
  }
  return { layers, experts, classes, layerClass, sources };
}

function classFor(placed: readonly Placed[], weights: ReadonlyMap<string, Placed>): ExpertClass {
  let end = 0;
  const matrices = placed.map((entry): ExpertMatrix => {
    const [k, rows, experts] = entry.shape as [number, number, number];
    const offset = roundUp(end, matrixAlignment);
    const bytes = entry.bytes / experts;
    end = offset + bytes;
    return {
      weights: expertWeights.filter((name) => weights.get(name) === entry),
      type: entry.type,
      shape: [k, rows],
      bytes,
      offset,
      repacked: entry.layout === "repacked",
    };
  });
  return { matrices, recordBytes: roundUp(end, recordAlignment) };
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
