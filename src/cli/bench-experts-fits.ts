import { randomTokens } from "../workload/random-tokens.ts";
import type { Report } from "../workload/report.ts";
import { Side } from "../workload/side.ts";
import { median } from "../workload/statistics.ts";
import { round3, sum } from "./bench-experts-metrics.ts";
import type { Contender, Work } from "./bench-experts-run.ts";
import type { ExpertsModel } from "./expert-budget.ts";

/** Measured turns of both, after one that is not. */
const turns = 3;
const answer = 24;

/**
 * What it costs to hold experts in slots when all of them fit: the engine with a slot for each beside the one that has
 * them resident, without a limit, in processes that live side by side and are measured in turns.
 * @returns ratios of speed, median of the turns
 */
export async function measureFits(
  [resident, slots]: readonly [Contender, Contender],
  model: ExpertsModel,
  work: Work,
  rows: Report["results"][number][],
  note: (text: string) => void,
): Promise<{ decode: number; prefill: number }> {
  const ratios = { decode: [] as number[], prefill: [] as number[] };
  const contenders = [resident, slots];
  const sides: Side[] = [];
  try {
    for (const { script, options } of contenders) sides.push(await Side.start(script, options));
    for (let turn = 0; turn <= turns; turn++) {
      note(`all experts fit, turn ${turn} of ${turns}`);
      const prompt = randomTokens(
        turn === 0 ? work.shortPrompt : work.longPrompt,
        model.vocabulary,
        1000 + turn,
      );
      const forced = randomTokens(answer, model.vocabulary, 2000 + turn);
      const times: { decode: number; prefill: number }[] = [];
      for (const index of turn % 2 === 0 ? [0, 1] : [1, 0]) {
        const { prefill, decode } = await sides[index]!.replay(prompt, forced);
        times[index] = { decode: sum(decode.milliseconds), prefill: sum(prefill.milliseconds) };
        if (turn === 0) continue;
        const { side, setting } = contenders[index]!;
        const head = { side, setting: `${setting}, no limit`, model: "uniform", round: turn };
        for (const [metric, part, tokens] of [
          ["fits_prefill", prefill, prompt.length],
          ["fits_decode", decode, forced.length],
        ] as const) {
          const tokensPerSecond = round3((tokens / sum(part.milliseconds)) * 1000);
          rows.push({
            ...head,
            metric,
            tokens_per_s: tokensPerSecond,
            ms: part.milliseconds.map(round3).join(" "),
          });
        }
      }
      if (turn === 0) continue;
      ratios.decode.push(times[0]!.decode / times[1]!.decode);
      ratios.prefill.push(times[0]!.prefill / times[1]!.prefill);
    }
    return { decode: median(ratios.decode), prefill: median(ratios.prefill) };
  } finally {
    await Promise.all(sides.map((side) => side.stop()));
  }
}
