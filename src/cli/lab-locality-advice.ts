import { chanceRouting, type SegmentRouting } from "../experts/locality.ts";

/** What is known of a model's locality. */
export interface Locality {
  /** At segments of `segment` tokens. */
  readonly srp: SegmentRouting;
  readonly segment: number;
  readonly experts: number;
  readonly used: number;
  /** Cache size in terms of a token's experts, and the hits of an oracle cache of that size, from 0 to 1. */
  readonly curve: readonly (readonly [ratio: number, hits: number])[];
}

/**
 * Published models lie between 31 % (Qwen1.5-MoE) and 54 % (Qwen3-30B-A3B) at segments of 16 (arXiv 2505.16056). Above
 * the middle of that, neighbouring tokens share enough that a cache of a few tokens' experts serves most of them.
 */
const local = 0.45;
/** An SRP this close to that of choices at random: the router does not care what came before. */
const nearChance = 0.03;

/** Says which budget is the knee of a model's curve, and whether offloading suits it. */
export function localityAdvice(locality: Locality): string[] {
  const { srp, segment, experts, used, curve } = locality;
  const [ratio, hits] = kneeOf(curve);
  const share = (ratio * used) / experts;
  const budget = `${Math.round(100 * share)} %`;
  const knee = `The knee is a cache of ${budget} of all experts, ${ratio} times those of a token: there an oracle hits ${Math.round(100 * hits)} %.`;
  const chance = chanceRouting(segment, used / experts);
  if (srp.performance < chance + nearChance) {
    return [knee, "Routing is near random: no policy gains much. Give the experts what memory there is."];
  }
  const how =
    srp.performance >= local
      ? "suits this model well"
      : "works for this model, with more reads than for others";
  return [knee, `Offloading ${how}: try --expert-memory ${Math.round(100 * share)}%.`];
}

/** The point of the curve that is highest above the straight line from its first point to its last. */
function kneeOf(curve: Locality["curve"]): readonly [number, number] {
  const [first] = curve as [readonly [number, number]];
  const last = curve.at(-1)!;
  const above = ([ratio, hits]: readonly [number, number]) => {
    const along = last[0] === first[0] ? 0 : (ratio - first[0]) / (last[0] - first[0]);
    return hits - (first[1] + along * (last[1] - first[1]));
  };
  return curve.reduce((best, point) => (above(point) > above(best) ? point : best), first);
}
