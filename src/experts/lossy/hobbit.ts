import type { Choice, Division, LossyMode, Presence } from "./mode.ts";

/** Shares of a token's weights, from 0 to 1. */
export interface HobbitThresholds {
  /** An expert that is not there is read in full precision when its share is at least this. 0: always. */
  readonly full: number;
  /** Below `full`, its low-precision copy is used when its share is at least this; else it is skipped. 0: never skipped. */
  readonly skip: number;
}

/**
 * HOBBIT (arXiv 2411.01433): what an expert weighs against the others of its token decides how it is read when it is
 * not there: in full precision, as a low-precision copy, or not at all. What is there in full precision is used as it
 * is, and a low-precision copy that is there before an expert is skipped. In a batch, an expert counts as the token says
 * to which it matters most. Long steps run in full precision.
 */
export class Hobbit implements LossyMode {
  readonly name = "hobbit";
  readonly #thresholds: HobbitThresholds;
  readonly #all: readonly number[];

  /** @param experts of each layer */
  constructor(thresholds: HobbitThresholds, experts: number) {
    this.#thresholds = thresholds;
    this.#all = Array.from({ length: experts }, (_, expert) => expert);
  }

  get says(): string {
    const [full, skip] = [this.#thresholds.full, this.#thresholds.skip].map((share) =>
      Number(share.toFixed(3)),
    );
    return `a missing expert is low below ${full} of its token's weights, skipped below ${skip}`;
  }

  divide({ layer, experts, shares }: Choice, presence: Presence): Division {
    if (!shares) return { full: experts, low: [], skipped: [] };
    const division = { full: [] as number[], low: [] as number[], skipped: [] as number[] };
    for (const expert of experts) {
      division[this.#precision(layer, expert, shares[expert]!, presence)].push(expert);
    }
    return division;
  }

  ahead(_layer: number, precision: "full" | "low"): readonly number[] {
    return precision === "full" ? this.#all : [];
  }

  #precision(layer: number, expert: number, share: number, presence: Presence): keyof Division {
    const { full, skip } = this.#thresholds;
    if (share >= full || presence.full(layer, expert)) return "full";
    return share >= skip || presence.low(layer, expert) ? "low" : "skipped";
  }
}
