/** The (token, rank) pairs of a step in the order of their experts. */
export interface ExpertGroups {
  /** Where each expert's pairs start; one more entry at the end. */
  readonly starts: Int32Array;
  /** Token of each pair, by expert. */
  readonly tokensByExpert: Int32Array;
  /** Where the pair of (token, rank) stands, [token][rank]. */
  readonly places: Int32Array;
}

/** @param ranking experts of each token by falling probability, [tokens][experts] */
export function groupByExpert(
  ranking: Int32Array,
  tokens: number,
  experts: number,
  expertsUsed: number,
): ExpertGroups {
  const starts = new Int32Array(experts + 1);
  for (let token = 0; token < tokens; token++) {
    for (let rank = 0; rank < expertsUsed; rank++) starts[ranking[token * experts + rank]! + 1]!++;
  }
  for (let expert = 0; expert < experts; expert++) starts[expert + 1]! += starts[expert]!;
  const next = starts.slice(0, experts);
  const tokensByExpert = new Int32Array(tokens * expertsUsed);
  const places = new Int32Array(tokens * expertsUsed);
  for (let token = 0; token < tokens; token++) {
    for (let rank = 0; rank < expertsUsed; rank++) {
      const place = next[ranking[token * experts + rank]!]!++;
      tokensByExpert[place] = token;
      places[token * expertsUsed + rank] = place;
    }
  }
  return { starts, tokensByExpert, places };
}

/** The experts that have pairs, by rising number. */
export function chosenExperts({ starts }: ExpertGroups): number[] {
  const chosen: number[] = [];
  for (let expert = 0; expert + 1 < starts.length; expert++) {
    if (starts[expert + 1]! > starts[expert]!) chosen.push(expert);
  }
  return chosen;
}

/**
 * By expert, the greatest share that it has of the router's weights of one token; 0 for those that none has chosen.
 * @param ranking experts of each token by falling probability, [tokens][experts]
 * @param weights of the chosen, in that order, [tokens][used]
 */
export function greatestShares(
  ranking: Int32Array,
  weights: Float32Array,
  { tokens, experts, used }: { tokens: number; experts: number; used: number },
): Float32Array {
  const shares = new Float32Array(experts);
  for (let token = 0; token < tokens; token++) {
    const mine = weights.subarray(token * used, (token + 1) * used);
    const sum = mine.reduce((total, weight) => total + weight, 0);
    for (const [rank, weight] of mine.entries()) {
      const expert = ranking[token * experts + rank]!;
      shares[expert] = Math.max(shares[expert]!, sum > 0 ? weight / sum : 1);
    }
  }
  return shares;
}
