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
 * @param segment m, tokens, from 1 to those of the trace
 */
export function segmentRouting(trace: RoutingTrace, segment: number): LayersAndModel<SegmentRouting> {
  const model = new Float64Array(segment + 1);
  const layers = Array.from({ length: trace.layers }, (_, layer) => {
    const windows = useCounts(trace, layer, segment);
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
 * @param segment m, tokens, at least 1
 * @param capacity C, experts of a layer, at least 1
 */
export function segmentCacheHits(
  trace: RoutingTrace,
  segment: number,
  capacity: number,
): LayersAndModel<number> {
  const hits = Array.from({ length: trace.layers }, (_, layer) => hitsOf(trace, layer, segment, capacity));
  const uses = trace.tokens * trace.used;
  const all = hits.reduce((sum, count) => sum + count, 0);
  return { layers: hits.map((count) => count / uses), model: all / (uses * trace.layers) };
}

/** The experts of one token in one layer. */
function expertsOf(trace: RoutingTrace, token: number, layer: number): Uint16Array {
  const start = (token * trace.layers + layer) * trace.used;
  return trace.chosen.subarray(start, start + trace.used);
}

/** For each f, in how many windows an expert is used f times; all experts of a layer together. */
function useCounts(trace: RoutingTrace, layer: number, segment: number): Float64Array {
  const counts = new Float64Array(segment + 1);
  const uses = new Uint32Array(trace.experts);
  for (let token = 0; token < trace.tokens; token++) {
    for (const expert of expertsOf(trace, token, layer)) uses[expert]!++;
    if (token < segment - 1) continue;
    for (const use of uses) counts[use]!++;
    for (const expert of expertsOf(trace, token - segment + 1, layer)) uses[expert]!--;
  }
  return counts;
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
