/** What `stowage lab experts` tells: rows, checks, curves, notes. */
import { allRecordBytes } from "../experts/layout.ts";
import type { Plot } from "../workload/plot.ts";
import { type Check, check, type Report, reported } from "../workload/report.ts";
import { median } from "../workload/statistics.ts";
import type { ExpertsShape } from "./lab-experts-engine.ts";
import { type Contender, gapClosed, type Outcome } from "./lab-experts-replay.ts";
import type { EngineRound } from "./lab-experts-rounds.ts";

type Row = Report["results"][number];

const theDefault: Contender = { name: "composite", ahead: true };
const lru: Contender = { name: "lru", ahead: false };
/** Whom fMoE is compared with, in its paper and here. */
const rivals = ["moe-infinity", "mixtral-offloading", "lru", "lfu"];

/** Less than this is no stall that something could be compared with, ms a token. */
const leastStallMs = 0.001;

const stallOf = ({ stallMs, tokens }: Outcome) => stallMs / tokens;
const hitOf = ({ hits, uses }: Outcome) => hits / uses;

/** The outcome of a contender at a budget; there is one at those that were asked for. */
function find(outcomes: readonly Outcome[], share: number, { name, ahead }: Contender): Outcome | undefined {
  return outcomes.find(
    (one) => one.share === share && one.contender.name === name && one.contender.ahead === ahead,
  );
}

/** A row for each contender at each of these budgets. */
export function outcomeRows(
  outcomes: readonly Outcome[],
  shares: readonly number[],
  shape: ExpertsShape,
): Row[] {
  const recordBytes = allRecordBytes(shape.layout) / (shape.layout.experts * shape.layerClass.length);
  return outcomes
    .filter(({ share }) => shares.includes(share))
    .map((outcome) => {
      const { contender, share, tokens } = outcome;
      const plain = find(outcomes, share, lru)!;
      const best = find(outcomes, share, { name: "belady", ahead: false })!;
      const gap = contender.ahead ? null : gapClosed(outcome.misses, plain.misses, best.misses);
      return {
        memory_percent: percent(share),
        policy: contender.name,
        reads_ahead: contender.ahead,
        hit_percent: percent(hitOf(outcome)),
        misses_a_token: round(outcome.misses / tokens, 2),
        late_a_token: round(outcome.late / tokens, 2),
        wasted_a_token: round(outcome.wasted / tokens, 2),
        mb_a_token: round((outcome.reads * recordBytes) / tokens / 1e6, 3),
        stall_ms_a_token: round(stallOf(outcome), 3),
        gap_to_belady_percent: gap === null ? null : percent(gap),
        stall_over_lru: round(stallOf(outcome) / stallOf(plain), 3),
        bytes_over_lru: round(outcome.reads / plain.reads, 3),
      };
    });
}

/** A row for each policy and budget that ran on the engine: medians of its rounds. */
export function engineRows(rounds: readonly EngineRound[]): Row[] {
  return grouped(rounds).map(({ share, contender, runs }) => {
    const of = (value: (one: (typeof runs)[number]) => number) => median(runs.map(value));
    return {
      memory_percent: percent(share),
      policy: `${contender.name} on the engine`,
      reads_ahead: contender.ahead,
      hit_percent: percent(of(({ run }) => run.hits / run.uses)),
      stall_ms_a_token: round(
        of(({ run }) => run.stallMs / run.tokens),
        3,
      ),
      predicted_stall_ms: round(
        of(({ predictedMs }) => predictedMs),
        3,
      ),
      token_ms: round(
        of(({ run }) => run.ms / run.tokens),
        3,
      ),
      policy_ms_a_token: round(
        of(({ run }) => run.decidedMs / run.tokens),
        4,
      ),
      policy_beside_ms_a_token: round(
        of(({ run }) => run.besideMs / run.tokens),
        4,
      ),
      says: runs.at(-1)!.run.says ?? null,
    };
  });
}

/** Runs of the same policy at the same budget. */
function grouped(rounds: readonly EngineRound[]) {
  const shares = [...new Set(rounds.map(({ share }) => share))];
  return shares.flatMap((share) => {
    const same = rounds.filter((round) => round.share === share);
    return same[0]!.runs.map(({ contender }, index) => ({
      ...{ share, contender },
      runs: same.map(({ runs }) => runs[index]!),
    }));
  });
}

/** Of several budgets, the worst counts. */
export function checksOf(
  outcomes: readonly Outcome[],
  shares: readonly number[],
  rounds: readonly EngineRound[],
): Check[] {
  const at = (share: number, contender: Contender) => find(outcomes, share, contender)!;
  const over = (value: (share: number) => number) => shares.map(value);
  const gap = (share: number) =>
    gapClosed(
      at(share, { ...theDefault, ahead: false }).misses,
      at(share, lru).misses,
      at(share, { name: "belady", ahead: false }).misses,
    );
  const overLru = (of: (outcome: Outcome) => number) =>
    Math.max(...over((share) => of(at(share, theDefault)) / of(at(share, lru))));
  return [
    check("eviction_gap", Math.min(...over(gap)), "share", ">=", 0.33),
    check("stall", overLru(stallOf), "x", "<=", 0.6),
    check(
      "bytes",
      overLru(({ reads }) => reads),
      "x",
      "<=",
      1.25,
    ),
    toOracle(outcomes, shares),
    ...fmoeChecks(outcomes, shares),
    ...engineChecks(rounds),
  ];
}

/** How far from perfect foresight: a ratio, or where that never waits, the whole stall. */
function toOracle(outcomes: readonly Outcome[], shares: readonly number[]): Check {
  const stalls = shares.map((share) => ({
    own: stallOf(find(outcomes, share, theDefault)!),
    oracle: stallOf(find(outcomes, share, { name: "oracle-prefetch", ahead: true })!),
  }));
  if (stalls.some(({ oracle }) => oracle < leastStallMs)) {
    return reported(
      "to_oracle",
      Math.max(...stalls.map(({ own, oracle }) => own - oracle)),
      "ms a token more",
    );
  }
  return reported("to_oracle", Math.max(...stalls.map(({ own, oracle }) => own / oracle)), "x");
}

/** fMoE's hits and stalls over those of others, the mean of all budgets; no better or worse is asked for. */
function fmoeChecks(outcomes: readonly Outcome[], shares: readonly number[]): Check[] {
  const own = (name: string) =>
    outcomes.filter((one) => one.contender.name === name && shares.includes(one.share));
  // What a policy reads ahead belongs to it.
  const whole = (name: string) =>
    own(name).filter(({ contender }, _, all) => contender.ahead || !all.some((o) => o.contender.ahead));
  if (whole("fmoe").length === 0) return [];
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const ratio = (rival: string, of: (outcome: Outcome) => number) =>
    mean(whole("fmoe").map(of)) / mean(whole(rival).map(of));
  return rivals
    .filter((rival) => whole(rival).length > 0)
    .flatMap((rival) => [
      reported(`fmoe_hit over ${rival}`, ratio(rival, hitOf), "x"),
      reported(`fmoe_stall over ${rival}`, ratio(rival, stallOf), "x"),
    ]);
}

function engineChecks(rounds: readonly EngineRound[]): Check[] {
  const groups = grouped(rounds);
  // In each round the costs of that round predict it; one round may be disturbed.
  const errors = groups.map(({ runs }) =>
    median(runs.map(({ run, predictedMs }) => Math.abs(predictedMs / (run.stallMs / run.tokens) - 1))),
  );
  const overheads = groups
    .filter(({ contender }) => contender.name === theDefault.name)
    .map(({ runs }) => median(runs.map(({ run }) => run.decidedMs / run.ms)));
  return [
    check("replay_error", Math.max(...errors), "share", "<=", 0.15),
    check("overhead", Math.max(...overheads), "share", "<=", 0.02),
  ];
}

/** Hits, stalls and bytes over the budget; evictions that others have with more ahead are left out. */
export function curvePlots(outcomes: readonly Outcome[], shape: ExpertsShape): Plot[] {
  const names = [...new Set(outcomes.map(({ contender }) => contender.name))];
  const series = (value: (outcome: Outcome) => number) =>
    names.map((name) => {
      const mine = outcomes.filter(({ contender }) => contender.name === name);
      const whole = mine.filter(
        ({ contender }) => contender.ahead || !mine.some((one) => one.contender.ahead),
      );
      const points = whole.map((outcome) => [percent(outcome.share), value(outcome)] as const);
      return { name, points: points.toSorted((a, b) => a[0] - b[0]) };
    });
  const recordBytes = allRecordBytes(shape.layout) / (shape.layout.experts * shape.layerClass.length);
  const xLabel = "experts in memory, %";
  return [
    {
      title: "Experts that were ready when asked for",
      xLabel,
      yLabel: "hits, %",
      series: series((one) => percent(hitOf(one))),
    },
    { title: "Waiting for experts", xLabel, yLabel: "ms a token", series: series(stallOf) },
    {
      title: "Read from disk",
      xLabel,
      yLabel: "MB a token",
      series: series(({ reads, tokens }) => (reads * recordBytes) / tokens / 1e6),
    },
  ];
}

export function notesOf(outcomes: readonly Outcome[], shares: readonly number[]): string[] {
  const ranked = shares.map((share) => {
    const policies = outcomes.filter(
      (one) => one.share === share && !["belady", "oracle-prefetch"].includes(one.contender.name),
    );
    const best = policies.reduce((best, one) => (stallOf(one) < stallOf(best) ? one : best));
    const name = best.contender.ahead ? best.contender.name : `${best.contender.name} (nothing ahead)`;
    return `At ${percent(share)} % of the experts, steps wait least under ${name}: ${round(stallOf(best), 2)} ms a token.`;
  });
  return [
    ...ranked,
    "A hit is an expert that was ready when it was asked for. Of several budgets, a check takes the worst.",
  ];
}

function percent(share: number): number {
  return Math.round(share * 1000) / 10;
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
