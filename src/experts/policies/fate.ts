import { AdaptiveReplacement } from "./arc.ts";
import type { EvictionPolicy, ExpertId, PolicyShape } from "./policy.ts";

/** Layers that are favoured, of all: what the next gate says of them is worst, and no layer before them hides their reads. */
const shallowShare = 0.25;
/** They keep others out of at most so many of the slots. */
const mostSlots = 0.5;

/**
 * Fate (arXiv 2502.12224): the next layer's gate on this layer's gate input says what to read ahead (`next-gate`), and the
 * cache favours shallow layers and replaces by ARC. Ours favours the first quarter of the layers: their experts leave after all
 * others, in ARC's order, as long as they hold no more than half of the slots. The paper's copies in low precision are not part of
 * this: `--lossy` has such modes.
 */
export class Fate implements EvictionPolicy {
  readonly name = "fate";
  readonly #arc: AdaptiveReplacement;
  /** Experts below this number are of shallow layers. */
  readonly #shallow: ExpertId;
  readonly #most: number;
  readonly #slots: number;
  #held = 0;

  constructor(shape: PolicyShape) {
    this.#arc = new AdaptiveReplacement(shape);
    this.#shallow = Math.ceil(shape.layers * shallowShare) * shape.experts;
    this.#most = shape.slots * mostSlots;
    this.#slots = shape.slots;
  }

  used(expert: ExpertId): void {
    this.#arc.used(expert);
  }

  entered(expert: ExpertId): void {
    if (expert < this.#shallow) this.#held++;
    this.#arc.entered(expert);
  }

  left(expert: ExpertId): void {
    if (expert < this.#shallow) this.#held--;
    this.#arc.left(expert);
  }

  worth(expert: ExpertId): number {
    const worth = this.#arc.worth(expert);
    // Places in ARC's order are below the number of slots.
    return expert < this.#shallow && this.#held <= this.#most ? this.#slots + worth : worth;
  }
}
