import type { EvictionPolicy, ExpertId, Moment } from "./policies/policy.ts";

/** More than a step of one sequence needs from one layer to the next, of models that use 8 experts a token. */
const listed = 16;

/**
 * The experts that leave next. They are chosen while the processor computes, so that an expert that is missing waits for
 * its bytes alone: the list is as old as the layer before.
 */
export class Victims {
  readonly #policy: EvictionPolicy;
  #list: ExpertId[] = [];

  constructor(policy: EvictionPolicy) {
    this.#policy = policy;
  }

  /** Chooses anew. @param candidates all that may leave by the time of the next layer, those first that came first */
  refresh(candidates: Iterable<ExpertId>, now: Moment): void {
    const worths: number[] = [];
    const list: ExpertId[] = [];
    for (const expert of candidates) {
      const worth = this.#policy.worth(expert, now);
      if (list.length === listed && worth >= worths[listed - 1]!) continue;
      let place = list.length;
      while (place > 0 && worths[place - 1]! > worth) place--;
      worths.splice(place, 0, worth);
      list.splice(place, 0, expert);
      if (list.length > listed) {
        list.pop();
        worths.pop();
      }
    }
    this.#list = list;
  }

  /** The next that may leave. @returns undefined when none of the list may */
  take(mayLeave: (expert: ExpertId) => boolean): ExpertId | undefined {
    const index = this.#list.findIndex(mayLeave);
    if (index < 0) return undefined;
    const [expert] = this.#list.splice(index, 1);
    return expert;
  }
}
