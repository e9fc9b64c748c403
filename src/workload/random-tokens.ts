/** Token ids from a small linear congruential generator: the same on both sides of a benchmark and at every run. */
export function randomTokens(count: number, vocabulary: number, seed: number): number[] {
  let state = seed + 1;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabulary);
  });
}
