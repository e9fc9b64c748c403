/** Up to so many rows an expert, on average, experts run together: products of matrices gain nothing from fewer. */
export const mostRowsTogether = 4;

/** Whether a step of so many tokens runs the experts of a layer together, and not one after the other. */
export function isShort(tokens: number, { experts, used }: { experts: number; used: number }): boolean {
  return tokens * used <= mostRowsTogether * experts;
}
