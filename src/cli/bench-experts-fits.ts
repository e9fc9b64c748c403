import { topicalTokens } from "../model/topics.ts";
import type { Report } from "../workload/report.ts";
import { Side } from "../workload/side.ts";
import { median } from "../workload/statistics.ts";
import { round3, sum } from "./bench-experts-metrics.ts";
import type { Contender, Work } from "./bench-experts-run.ts";
import type { ExpertsModel } from "./expert-budget.ts";

/** Fresh processes of both, measured in turns. */
const rounds = 6;
const answer = 24;

/** Times of a prompt and its answer, ms. */
interface Times {
  readonly decode: number;
  readonly prefill: number;
}

/**
 * What a budget for experts costs when all of them fit: the engine with such a budget beside the one without, no limit. Each
 * round has processes of its own, because a process keeps for its life what luck it had with large pages; who starts
 * and who is measured first changes.
 * @returns ratios of speed, median of the rounds
 */
export async function measureFits(
  contenders: readonly [resident: Contender, budgeted: Contender],
  model: ExpertsModel,
  work: Work,
  rows: Report["results"][number][],
  note: (text: string) => void,
): Promise<{ decode: number; prefill: number }> {
  const ratios = { decode: [] as number[], prefill: [] as number[] };
  for (let round = 1; round <= rounds; round++) {
    note(`all experts fit, round ${round} of ${rounds}`);
    const order = round % 2 === 0 ? [0, 1] : [1, 0];
    const sides: Side[] = [];
    try {
      for (const index of order) {
        sides[index] = await Side.start(contenders[index]!.script, contenders[index]!.options);
        await replayOn(sides[index], work.shortPrompt, model, 0);
      }
      const times: Times[][] = [[], []];
      // There and back again: a machine that gets faster or slower meanwhile favours nobody.
      for (const index of [...order, ...order.toReversed()]) {
        const found = await replayOn(sides[index]!, work.longPrompt, model, round);
        times[index]!.push(found);
        rows.push(...rowsFor(contenders[index]!, found, work.longPrompt, round));
      }
      const [resident, budgeted] = times as [Times[], Times[]];
      for (const part of ["decode", "prefill"] as const) {
        const all = (of: readonly Times[]) => sum(of.map((each) => each[part]));
        ratios[part].push(all(resident) / all(budgeted));
      }
    } finally {
      await Promise.all(sides.map((side) => side?.stop()));
    }
  }
  return { decode: median(ratios.decode), prefill: median(ratios.prefill) };
}

async function replayOn(side: Side, promptTokens: number, model: ExpertsModel, seed: number): Promise<Times> {
  const tokens = topicalTokens(1000 + seed, promptTokens + answer, model.text);
  const { prefill, decode } = await side.replay(tokens.slice(0, promptTokens), tokens.slice(promptTokens));
  return { prefill: sum(prefill.milliseconds), decode: sum(decode.milliseconds) };
}

function rowsFor({ side, setting }: Contender, times: Times, promptTokens: number, round: number) {
  const row = (metric: string, tokens: number, ms: number) => ({
    side,
    setting: `${setting}, no limit`,
    model: "uniform",
    round,
    metric,
    tokens_per_s: round3((tokens / ms) * 1000),
    ms: round3(ms),
  });
  return [row("fits_prefill", promptTokens, times.prefill), row("fits_decode", answer, times.decode)];
}
