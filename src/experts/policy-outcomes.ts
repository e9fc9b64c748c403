import type { ExpertMetrics, LayerCounts } from "./metrics.ts";
import type { ActingPolicies } from "./policies/pair.ts";
import type { PolicyOutcome } from "./residency.ts";

/** What came while which policies decided: one that chooses among others is several of these. */
export class PolicyOutcomes {
  readonly #metrics: ExpertMetrics;
  readonly #outcomes = new Map<string, PolicyOutcome>();
  #began: LayerCounts | undefined;

  constructor(metrics: ExpertMetrics) {
    this.#metrics = metrics;
  }

  get all(): readonly PolicyOutcome[] {
    return [...this.#outcomes.values()];
  }

  /** A decode step begins: what came since the one before was a prompt's. */
  began(): void {
    this.#began = this.#metrics.total;
  }

  /** The step has its last experts. */
  stepped(acting: ActingPolicies): void {
    const before = this.#began;
    if (!before) return;
    this.#began = undefined;
    const now = this.#metrics.total;
    const outcome = this.#of(acting);
    outcome.steps++;
    for (const key of Object.keys(now) as (keyof LayerCounts)[]) outcome[key] += now[key] - before[key];
  }

  #of({ eviction, prefetch }: ActingPolicies): PolicyOutcome {
    const key = `${eviction} ${prefetch}`;
    let outcome = this.#outcomes.get(key);
    if (!outcome) {
      const none = { ...this.#metrics.total };
      for (const name of Object.keys(none) as (keyof LayerCounts)[]) none[name] = 0;
      outcome = { eviction, prefetch, steps: 0, ...none };
      this.#outcomes.set(key, outcome);
    }
    return outcome;
  }
}
