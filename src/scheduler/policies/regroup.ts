import type { SchedulingPolicy, SequenceView, Share, StepLimits } from "../plan.ts";

/** Steps that a decoding sequence is left out of, one after the other, at most. */
const mostWaits = 3;

/** The experts that a token is expected to use, by layer. */
export type PathOf = (token: number) => readonly (readonly number[])[];

/**
 * Regroups the decoding sequences of another policy's steps so that those of a step use much the same experts (ExpertFlow,
 * arXiv 2410.17954, token scheduler): the one that has waited longest, then, one after the other, the one that adds the fewest
 * experts. Nobody waits for more than a few steps: whoever has comes first. The paper sorts the tokens of batches that are
 * known; ours chooses at each step among the sequences that are there. Prompts are left to the other policy.
 */
export class RegroupByExperts implements SchedulingPolicy {
  readonly name: string;
  readonly #inner: SchedulingPolicy;
  readonly #most: number;
  readonly #pathOf: PathOf;
  /** By sequence: steps that it has been left out of since its last. */
  #waits = new Map<number, number>();

  /** @param most decoding sequences of a step */
  constructor(inner: SchedulingPolicy, most: number, pathOf: PathOf) {
    this.name = `${inner.name}, regrouped`;
    this.#inner = inner;
    this.#most = most;
    this.#pathOf = pathOf;
  }

  plan(now: number, running: readonly SequenceView[], limits: StepLimits): Share[] {
    const views = new Map(running.map((view) => [view.id, view]));
    const shares = this.#inner.plan(now, running, limits);
    const decoding = shares.filter(({ id }) => views.get(id)!.pending === 1);
    const chosen = new Set(this.#choose(decoding.map(({ id }) => views.get(id)!)));
    const left = decoding.filter(({ id }) => !chosen.has(id));
    this.#waits = new Map(left.map(({ id }) => [id, this.#waited(id) + 1]));
    return shares.filter((share) => !left.includes(share));
  }

  #choose(decoding: readonly SequenceView[]): number[] {
    // The sort is stable: of equals, the order of the other policy decides.
    const waiting = [...decoding].sort((a, b) => this.#waited(b.id) - this.#waited(a.id));
    const due = waiting.filter(({ id }) => this.#waited(id) >= mostWaits).length;
    const most = Math.max(this.#most, due);
    if (waiting.length <= most) return waiting.map(({ id }) => id);
    const first = waiting.splice(0, Math.max(1, due));
    const chosen = first.map(({ id }) => id);
    const experts = new Set<string>();
    for (const view of first) for (const name of this.#expertsOf(view)) experts.add(name);
    const left = waiting.map((view) => ({ id: view.id, names: this.#expertsOf(view) }));
    while (chosen.length < most) {
      const added = left.map(({ names }) => names.filter((name) => !experts.has(name)).length);
      const [next] = left.splice(added.indexOf(Math.min(...added)), 1);
      chosen.push(next!.id);
      for (const name of next!.names) experts.add(name);
    }
    return chosen;
  }

  #waited(id: number): number {
    return this.#waits.get(id) ?? 0;
  }

  #expertsOf({ tokens }: SequenceView): string[] {
    const token = tokens?.at(-1);
    if (token === undefined) return [];
    return this.#pathOf(token).flatMap((experts, layer) => experts.map((expert) => `${layer} ${expert}`));
  }
}
