/** Which experts of a model are in memory, and what reading them came to. */
import type { ResidencyMessage } from "../../engine/process/messages.ts";
import { StowageError } from "../../errors.ts";
import { type ResidencyState, stateLetters } from "../../experts/residency.ts";
import { endpoint } from "../endpoint.ts";
import { type ExpertCounts, type Experts, expertsSchema } from "../schemas/experts.ts";

type Residency = ResidencyMessage["residency"];
type LayerCounts = Residency["layers"][number]["counts"];

export const experts = endpoint({
  method: "GET",
  path: "/api/models/{model}/experts",
  summary:
    "Which experts of a loaded model with a budget for them are in memory, and what its policies came to",
  tag: "Server",
  response: expertsSchema,
  handle: async ({ context, params }): Promise<Experts> => {
    const { name, state, engine } = context.gateway.model(params.model!);
    if (!engine?.stats?.experts) throw new StowageError("experts_unmapped", { model: name, state });
    return described(name, await engine.residency());
  },
});

function described(model: string, { bytes, slots, policy, layers, outcomes }: Residency): Experts {
  const of = (state: ResidencyState) =>
    layers.reduce((sum, { states }) => sum + states.split(stateLetters[state]).length - 1, 0);
  return {
    model,
    now: Date.now(),
    bytes,
    slots,
    policy: { ...policy, says: policy.says ?? null },
    states: {
      absent: of("absent"),
      reading: of("reading"),
      present: of("present"),
      ahead: of("ahead"),
      in_use: of("inUse"),
    },
    totals: sumOf(layers.map(({ counts }) => countsOf(counts))),
    layers: layers.map(({ layer, states, heat, counts }) => ({ layer, states, heat, ...countsOf(counts) })),
    by_policy: outcomes.map(({ eviction, prefetch, steps, ...counts }) => ({
      ...{ eviction, prefetch, steps },
      ...countsOf(counts),
    })),
  };
}

function countsOf(counts: LayerCounts): ExpertCounts {
  return {
    hits: counts.hits,
    misses: counts.misses,
    late: counts.late,
    prefetch_useful: counts.prefetchesUseful,
    prefetch_wasted: counts.prefetchesWasted,
    demand_bytes: counts.demandBytes,
    prefetch_bytes: counts.prefetchBytes,
    stall_ms: counts.stallMs,
  };
}

function sumOf(all: readonly ExpertCounts[]): ExpertCounts {
  const [first, ...rest] = all;
  const sum = { ...first! };
  for (const counts of rest) {
    for (const key of Object.keys(sum) as (keyof ExpertCounts)[]) sum[key] += counts[key];
  }
  return sum;
}
