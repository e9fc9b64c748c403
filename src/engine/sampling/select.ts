/**
 * Finding the greatest logits without sorting the vocabulary.
 *
 * Order everywhere: greater logit first; among equal logits the lower token id first. Token and logit are kept
 * in two parallel typed arrays, so that nothing is allocated.
 * The scans test `!(x <= bound)`, which a NaN passes too: it is then caught on the rare path and costs nothing.
 */
import { StowageError } from "../../errors.ts";

/**
 * The token with the greatest logit.
 * @throws StowageError `logits_not_finite` on NaN or Infinity, `logits_all_masked` when all are -Infinity.
 */
export function argmax(logits: Float32Array): number {
  const n = logits.length;
  const unrolled = n & ~3;
  let best = -Infinity;
  let token = -1;
  let i = 0;
  for (; i < unrolled; i += 4) {
    if (logits[i]! <= best && logits[i + 1]! <= best && logits[i + 2]! <= best && logits[i + 3]! <= best) {
      continue;
    }
    for (let j = i; j < i + 4; j++) {
      const x = logits[j]!;
      if (x <= best) continue;
      checkFinite(x, j);
      best = x;
      token = j;
    }
  }
  for (; i < n; i++) {
    const x = logits[i]!;
    if (x <= best) continue;
    checkFinite(x, i);
    best = x;
    token = i;
  }
  if (token < 0) throw new StowageError("logits_all_masked", { vocab: n });
  return token;
}

/**
 * Writes the `k` greatest logits and their tokens to the front of `scores` and `tokens`, best first, and returns
 * how many there are: fewer than `k` when the rest is -Infinity. One pass, with a heap of `k` entries.
 * @throws StowageError as {@link argmax}.
 */
export function selectTop(logits: Float32Array, k: number, scores: Float32Array, tokens: Int32Array): number {
  const n = logits.length;
  let size = 0;
  let i = 0;
  for (; i < n && size < k; i++) {
    const x = logits[i]!;
    if (x === -Infinity) continue;
    checkFinite(x, i);
    scores[size] = x;
    tokens[size] = i;
    size++;
  }
  if (size === 0) throw new StowageError("logits_all_masked", { vocab: n });

  heapify(scores, tokens, 0, size);
  let bound = scores[0]!;
  for (; i < n; i++) {
    // Most logits are far below the heap: four are passed over at once.
    while (
      i + 4 <= n &&
      logits[i]! <= bound &&
      logits[i + 1]! <= bound &&
      logits[i + 2]! <= bound &&
      logits[i + 3]! <= bound
    ) {
      i += 4;
    }
    if (i === n) break;
    const x = logits[i]!;
    if (x <= bound) continue;
    checkFinite(x, i);
    scores[0] = x;
    tokens[0] = i;
    siftDown(scores, tokens, 0, size, 0);
    bound = scores[0]!;
  }
  unwindHeap(scores, tokens, 0, size);
  return size;
}

/** Sorts the entries [from, to) best first, in place. */
export function sortBestFirst(scores: Float32Array, tokens: Int32Array, from: number, to: number): void {
  heapify(scores, tokens, from, to - from);
  unwindHeap(scores, tokens, from, to - from);
}

function heapify(scores: Float32Array, tokens: Int32Array, base: number, size: number): void {
  for (let node = (size >> 1) - 1; node >= 0; node--) siftDown(scores, tokens, base, size, node);
}

/** Turns a heap with its worst entry on top into a list with its best entry first. */
function unwindHeap(scores: Float32Array, tokens: Int32Array, base: number, size: number): void {
  for (let last = base + size - 1; last > base; last--) {
    const score = scores[base]!;
    const token = tokens[base]!;
    scores[base] = scores[last]!;
    tokens[base] = tokens[last]!;
    scores[last] = score;
    tokens[last] = token;
    siftDown(scores, tokens, base, last - base, 0);
  }
}

/** Moves entry `node` down until both of its children are better than it: the worst entry stays on top. */
function siftDown(scores: Float32Array, tokens: Int32Array, base: number, size: number, node: number): void {
  const score = scores[base + node]!;
  const token = tokens[base + node]!;
  let hole = node;
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= size) break;
    if (child + 1 < size && worse(scores, tokens, base + child + 1, base + child)) child++;
    const at = base + child;
    if (scores[at]! > score || (scores[at] === score && tokens[at]! < token)) break;
    scores[base + hole] = scores[at]!;
    tokens[base + hole] = tokens[at]!;
    hole = child;
  }
  scores[base + hole] = score;
  tokens[base + hole] = token;
}

function worse(scores: Float32Array, tokens: Int32Array, a: number, b: number): boolean {
  return scores[a]! < scores[b]! || (scores[a] === scores[b] && tokens[a]! > tokens[b]!);
}

function checkFinite(logit: number, position: number): void {
  if (!Number.isFinite(logit)) throw new StowageError("logits_not_finite", { position, value: logit });
}
