import type { ExpertId } from "./policies/policy.ts";

/** Decode steps after which a use counts half. */
const halfLife = 32;
const keep = 0.5 ** (1 / halfLife);

/** How often experts were used lately: of the latest decode steps, later ones counting more. For people, not for policies. */
export class ExpertHeat {
  /** Of each expert, what its uses weighed at its latest. */
  readonly #weight: Float64Array;
  /** And the step of that, from 1 on; 0 for none. */
  readonly #step: Float64Array;
  #steps = 0;
  #layer = Number.POSITIVE_INFINITY;

  /** @param experts of all layers */
  constructor(experts: number) {
    this.#weight = new Float64Array(experts);
    this.#step = new Float64Array(experts);
  }

  /** A decode step uses these experts of a layer. A layer that does not follow the one before begins a step. */
  used(layer: number, experts: Iterable<ExpertId>): void {
    if (layer <= this.#layer) this.#steps++;
    this.#layer = layer;
    for (const expert of experts) {
      const age = this.#steps - this.#step[expert]!;
      this.#weight[expert] = this.#weight[expert]! * keep ** age + 1;
      this.#step[expert] = this.#steps;
    }
  }

  /** Share of the latest steps that used the expert, 0 to 1. */
  share(expert: ExpertId): number {
    if (this.#steps === 0) return 0;
    const weight = this.#weight[expert]! * keep ** (this.#steps - this.#step[expert]!);
    // What it would weigh if all steps had used it.
    const all = (1 - keep ** this.#steps) / (1 - keep);
    return Math.min(1, weight / all);
  }

  /** Whether the step that runs, or ran last, used it. */
  isLatest(expert: ExpertId): boolean {
    return this.#steps > 0 && this.#step[expert] === this.#steps;
  }
}
