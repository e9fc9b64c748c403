/** Text of a synthetic model: runs of tokens of one topic, where a token's topic is its remainder by their number. */
export interface Topics {
  /** 1 for tokens that are independent of each other. */
  readonly topics: number;
  /** Mean length of a run, tokens; lengths are geometric. */
  readonly meanRun: number;
}

/** Token ids from a small linear congruential generator: the same on both sides of a benchmark and at every run. */
export function randomTokens(
  count: number,
  vocabulary: number,
  seed: number,
  { topics, meanRun }: Topics = { topics: 1, meanRun: 1 },
): number[] {
  let state = seed + 1;
  const below = (bound: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
  if (topics === 1) return Array.from({ length: count }, () => below(vocabulary));
  let topic = below(topics);
  return Array.from({ length: count }, () => {
    if (below(meanRun) === 0) topic = (topic + 1 + below(topics - 1)) % topics;
    return topic + topics * below(Math.floor((vocabulary - topic) / topics));
  });
}
