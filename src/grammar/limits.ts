/**
 * What a grammar may take. They come from anybody who may send a request, so every stage is bounded: text, rules, the
 * automaton, what is kept while it runs, and the work of one step.
 */
export const grammarLimits = {
  /** Length of a grammar's or schema's text, UTF-16 units. */
  textLength: 1024 * 1024,
  rules: 20_000,
  /** Groups in groups. */
  depth: 128,
  /** Numbers in `{m,n}`: repetitions are counted, not written out, so this costs nothing. */
  repetitions: 1_000_000,
  /** States and edges of the automaton. */
  states: 400_000,
  edges: 1_200_000,
  /** Parse states kept; beyond, they are forgotten and made again as they are needed. */
  keptSets: 4_000,
  /** Ways to read what was generated that are followed side by side. */
  items: 20_000,
  /** Steps of work for one mask, or for one token: some tenths of a second at most. */
  work: 4_000_000,
  /** Masks kept for one grammar, bytes. */
  maskBytes: 4 * 1024 * 1024,
} as const;
