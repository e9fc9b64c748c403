import type { Choice, Division, LossyMode } from "./mode.ts";

/** An expert, what it takes in each precision, and what the low one costs. */
export interface ExpertCost {
  readonly layer: number;
  readonly expert: number;
  readonly fullBytes: number;
  readonly lowBytes: number;
  /** How much the output changes when it is low; in any unit, the same for all. */
  readonly sensitivity: number;
}

/**
 * Which experts are low so that all together take at most `budget` bytes: each step up to full precision goes to the
 * expert where it is worth most a byte.
 * @returns [layer][expert] of the low ones; undefined where even all low take more
 */
export function chooseLow(costs: readonly ExpertCost[], budget: number): boolean[][] | undefined {
  let bytes = costs.reduce((sum, { lowBytes }) => sum + lowBytes, 0);
  if (bytes > budget) return undefined;
  const low: boolean[][] = [];
  for (const { layer, expert } of costs) {
    low[layer] ??= [];
    low[layer][expert] = true;
  }
  const worth = ({ sensitivity, fullBytes, lowBytes }: ExpertCost) =>
    fullBytes > lowBytes ? sensitivity / (fullBytes - lowBytes) : Number.POSITIVE_INFINITY;
  for (const cost of [...costs].sort((a, b) => worth(b) - worth(a))) {
    const more = cost.fullBytes - cost.lowBytes;
    if (bytes + more > budget) continue;
    bytes += more;
    low[cost.layer]![cost.expert] = false;
  }
  return low;
}

/** EdgeMoE (arXiv 2308.14352): every expert has a precision of its own, once and for all. */
export class EdgeMoe implements LossyMode {
  readonly name = "edgemoe";
  readonly #low: readonly (readonly boolean[] | undefined)[];

  /** @param low [layer][expert] whether it is low; none for a layer without experts */
  constructor(low: readonly (readonly boolean[] | undefined)[]) {
    this.#low = low;
  }

  get says(): string {
    const all = this.#low.flatMap((layer) => layer ?? []);
    return `${all.filter((low) => low).length} of ${all.length} experts are low`;
  }

  divide({ layer, experts }: Choice): Division {
    const low = this.#low[layer]!;
    return {
      full: experts.filter((expert) => !low[expert]),
      low: experts.filter((expert) => low[expert]),
      skipped: [],
    };
  }

  ahead(layer: number, precision: "full" | "low"): readonly number[] {
    return (this.#low[layer] ?? []).flatMap((low, expert) => (low === (precision === "low") ? [expert] : []));
  }
}
