import { topicalTokens } from "../model/topics.ts";
import type { Report } from "../workload/report.ts";
import { Side } from "../workload/side.ts";
import { median } from "../workload/statistics.ts";
import { round3, sum } from "./bench-experts-metrics.ts";
import type { Contender, Work } from "./bench-experts-run.ts";
import type { ExpertsModel } from "./expert-budget.ts";

/** Fresh processes of both. */
const rounds = 5;
const answer = 48;

/** Times of a prompt and its answer, ms. */
interface Times {
  readonly decode: number;
  readonly prefill: number;
}

/**
 * What a budget for experts costs when all of them fit: the engine with such a budget beside the one without, no limit. One
 * process lives at a time: of two side by side, one has the better memory for its life, by a tenth of the speed of
 * decoding. Who goes first changes from round to round.
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
    const times: Times[] = [];
    for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const side = await Side.start(contenders[index]!.script, contenders[index]!.options);
      try {
        await replayOn(side, work.shortPrompt, model, 0);
        times[index] = await replayOn(side, work.longPrompt, model, round);
        rows.push(...rowsFor(contenders[index]!, times[index], work.longPrompt, round));
      } finally {
        await side.stop();
      }
    }
    const [resident, budgeted] = times as [Times, Times];
    ratios.decode.push(resident.decode / budgeted.decode);
    ratios.prefill.push(resident.prefill / budgeted.prefill);
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
