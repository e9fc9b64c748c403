/**
 * Local routing consistency (arXiv 2505.16056): how far neighbouring tokens share their experts. It says what a
 * cache of experts can gain on a model, before any policy is tried.
 */

/** The experts that one sequence was routed to. */
export interface RoutingTrace {
  readonly tokens: number;
  readonly layers: number;
  /** Experts of each layer. */
  readonly experts: number;
  /** Experts of each token in a layer; distinct. */
  readonly used: number;
  /** Ids of experts, [tokens][layers][used]. */
  readonly chosen: Uint16Array;
}

/** How well a fixed group of experts serves a whole segment of tokens. */
export interface SegmentRouting {
  /** SRP, from 0 to 1: the best F1 of the prediction "these experts for every token of the segment". */
  readonly performance: number;
  /** Size of the group that gives it, in terms of the experts of one token: 1 is as many as a token uses. */
  readonly sizeRatio: number;
}

/** A figure of each layer, and of the model: not their mean, but from the sums over all layers. */
export interface LayersAndModel<T> {
  readonly layers: readonly T[];
  readonly model: T;
}

/**
 * Segment routing best performance, SRP(m). Over every window of m tokens, f is how often an expert is used in it. A threshold α
 * predicts the experts with f ≥ α for every token of the window: M = Σ f where f ≥ α of them are right, P = m for
 * each expert and window with f ≥ α are predicted, A = Σ f are used. SRP is the largest F1 = 2M / (P + A) of any α.
 * Windows lie within one sequence; their sums are pooled.
 * @param traces at least one, all of one model
 * @param segment m, tokens, from 1 to those of the longest trace
 */
export function segmentRouting(
  traces: readonly RoutingTrace[],
  segment: number,
): LayersAndModel<SegmentRouting> {
  const model = new Float64Array(segment + 1);
  const layers = Array.from({ length: traces[0]!.layers }, (_, layer) => {
    const windows = new Float64Array(segment + 1);
    for (const trace of traces) addUseCounts(windows, trace, layer, segment);
    for (let uses = 0; uses <= segment; uses++) model[uses]! += windows[uses]!;
    return bestThreshold(windows);
  });
  return { layers, model: bestThreshold(model) };
}

/**
 * Segment cache best hit rate, SCH(m, C): hits over uses in a cache of C experts a layer that evicts the expert which
 * is least used in the m tokens from the running one on; of equals, the least recently used. A first use is a hit
 * while fewer than C different experts have been seen. As in the authors' code (ljcleo/moe-lrc), a token finds the
 * cache as the token before left it, and takes its experts one after the other in the order of the trace.
 * Every sequence begins with an empty cache.
 * @param traces at least one, all of one model
 * @param segment m, tokens, at least 1
 * @param capacity C, experts of a layer, at least 1
 */
export function segmentCacheHits(
  traces: readonly RoutingTrace[],
  segment: number,
  capacity: number,
): LayersAndModel<number> {
  const { layers, used } = traces[0]!;
  const hits = Array.from({ length: layers }, (_, layer) =>
    traces.reduce((sum, trace) => sum + hitsOf(trace, layer, segment, capacity), 0),
  );
  const uses = traces.reduce((sum, { tokens }) => sum + tokens * used, 0);
  const all = hits.reduce((sum, count) => sum + count, 0);
  return { layers: hits.map((count) => count / uses), model: all / (uses * layers) };
}

/**
 * SRP(m) of a router that chooses at random: the number of an expert's uses in a segment is binomial.
 * @param segment m, tokens
 * @param share of the experts that a token uses
 */
export function chanceRouting(segment: number, share: number): number {
  const windows = Float64Array.from({ length: segment + 1 }, (_, uses) => {
    let ways = 1;
    for (let place = 0; place < uses; place++) ways *= (segment - place) / (place + 1);
    return ways * share ** uses * (1 - share) ** (segment - uses);
  });
  return bestThreshold(windows).performance;
}

/** The experts of one token in one layer. */
function expertsOf(trace: RoutingTrace, token: number, layer: number): Uint16Array {
  const start = (token * trace.layers + layer) * trace.used;
  return trace.chosen.subarray(start, start + trace.used);
}

/** Adds to `counts[f]` in how many windows an expert is used f times; all experts of a layer together. */
function addUseCounts(counts: Float64Array, trace: RoutingTrace, layer: number, segment: number): void {
  const uses = new Uint32Array(trace.experts);
  for (let token = 0; token < trace.tokens; token++) {
    for (const expert of expertsOf(trace, token, layer)) uses[expert]!++;
    if (token < segment - 1) continue;
    for (const use of uses) counts[use]!++;
    for (const expert of expertsOf(trace, token - segment + 1, layer)) uses[expert]!--;
  }
}

function bestThreshold(windows: Float64Array): SegmentRouting {
  const segment = windows.length - 1;
  const used = windows.reduce((sum, count, uses) => sum + count * uses, 0);
  let best: SegmentRouting = { performance: 0, sizeRatio: 0 };
  let right = 0;
  let predicted = 0;
  for (let threshold = segment; threshold >= 1; threshold--) {
    right += windows[threshold]! * threshold;
    predicted += windows[threshold]! * segment;
    const performance = (2 * right) / (predicted + used);
    if (performance > best.performance) best = { performance, sizeRatio: predicted / used };
  }
  return best;
}

function hitsOf(trace: RoutingTrace, layer: number, segment: number, capacity: number): number {
  /** Uses in the tokens from the running one on, less those that the running one has had. */
  const coming = new Uint32Array(trace.experts);
  const lastUse = new Float64Array(trace.experts);
  const cached = new Set<number>();
  const seen = new Set<number>();
  let clock = 0;
  let hits = 0;
  const look = (token: number) => {
    if (token < trace.tokens) for (const expert of expertsOf(trace, token, layer)) coming[expert]!++;
  };
  for (let token = 0; token < segment; token++) look(token);
  for (let token = 0; token < trace.tokens; token++) {
    const wanted = expertsOf(trace, token, layer);
    for (const expert of wanted) {
      if (seen.has(expert) ? cached.has(expert) : seen.size < capacity) hits++;
      seen.add(expert);
    }
    for (const expert of wanted) {
      if (!cached.has(expert) && cached.size === capacity) cached.delete(victim(cached, coming, lastUse));
      cached.add(expert);
      coming[expert]!--;
      lastUse[expert] = ++clock;
    }
    look(token + segment);
  }
  return hits;
}

function victim(cached: ReadonlySet<number>, coming: Uint32Array, lastUse: Float64Array): number {
  let found = -1;
  for (const expert of cached) {
    const gap = found < 0 ? -1 : coming[expert]! - coming[found]!;
    if (gap < 0 || (gap === 0 && lastUse[expert]! < lastUse[found]!)) found = expert;
  }
  return found;
}
