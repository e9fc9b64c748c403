/** An edge that reads a byte from `low` to `high`. */
interface ByteEdge {
  readonly from: number;
  readonly low: number;
  readonly high: number;
  readonly to: number;
}

/**
 * All bytes that have none of these texts in them, as a deterministic automaton: a state says how much of which text stands
 * at the end (Aho and Corasick, 1975). It begins in state 0 and may end in any.
 */
export function freeMachine(texts: readonly Uint8Array[]): { states: number; edges: ByteEdge[] } {
  const next: Map<number, number>[] = [new Map()];
  const forbidden = new Set<number>();
  for (const text of texts) {
    let state = 0;
    for (const byte of text) {
      let to = next[state]!.get(byte);
      if (to === undefined) {
        to = next.push(new Map()) - 1;
        next[state]!.set(byte, to);
      }
      state = to;
    }
    forbidden.add(state);
  }
  const edges: ByteEdge[] = [];
  // Breadth first: where a byte leads that goes on with no text is known from the shorter end that is one.
  const all: Int32Array[] = [];
  const shorter = new Int32Array(next.length);
  const queue = [0];
  for (const state of queue) {
    const own = next[state]!;
    const row = state === 0 ? new Int32Array(256) : all[shorter[state]!]!.slice();
    for (const [byte, to] of own) {
      shorter[to] = state === 0 ? 0 : row[byte]!;
      row[byte] = to;
      if (forbidden.has(shorter[to]!)) forbidden.add(to);
      queue.push(to);
    }
    all[state] = row;
    for (let low = 0; low < 256; ) {
      let high = low;
      while (high < 255 && row[high + 1] === row[low]) high++;
      edges.push({ from: state, low, high, to: row[low]! });
      low = high + 1;
    }
  }
  return {
    states: next.length,
    edges: edges.filter(({ from, to }) => !forbidden.has(from) && !forbidden.has(to)),
  };
}
