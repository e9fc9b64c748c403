/** What came of experts over the last minutes, a second. Pure: it is told the totals as they come. */
import type { Status } from "../../schemas/status.ts";
import { RecentSamples } from "./samples.ts";

type Totals = NonNullable<Status["models"][number]["experts"]>;

/** Experts a second; null where nothing is known. */
export interface OutcomeSample {
  readonly time: number;
  /** Read ahead, and there when wanted. */
  readonly useful: number | null;
  /** Under way when wanted. */
  readonly late: number | null;
  /** Read ahead in vain. */
  readonly wasted: number | null;
  /** Neither there nor on their way when wanted. */
  readonly missed: number | null;
}

export class OutcomeSamples {
  readonly #recent = new RecentSamples<OutcomeSample>();
  #previous: { readonly time: number; readonly totals: Totals } | undefined;

  get all(): readonly OutcomeSample[] {
    return this.#recent.all;
  }

  /** @param time Unix ms, by the server's clock */
  push(time: number, totals: Totals): void {
    const before = this.#previous;
    const seconds = before ? (time - before.time) / 1000 : 0;
    const rate = (key: keyof Totals) => {
      if (!before || seconds <= 0) return null;
      // An engine that was started again began at 0.
      const base = before.totals[key] <= totals[key] ? before.totals[key] : 0;
      return (totals[key] - base) / seconds;
    };
    this.#recent.add({
      time,
      useful: rate("prefetch_useful"),
      late: rate("late"),
      wasted: rate("prefetch_wasted"),
      missed: rate("misses"),
    });
    this.#previous = { time, totals };
  }
}
