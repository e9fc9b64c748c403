/**
 * The automaton of a grammar: for each rule a non-deterministic automaton over bytes, whose edges may also call rules.
 * `parse-states.ts` runs it.
 */
/** Edges of one kind, by the state that they leave: those of state s are [offsets[s], offsets[s + 1]). */
export interface EdgeTable {
  readonly offsets: Int32Array;
  readonly targets: Int32Array;
  /** Of byte edges, the first and last byte class; of calls, the rule; of tokens, the token. */
  readonly labels: Int32Array;
  readonly ends: Int32Array;
}

/**
 * A rule that counts how often it calls `body`. It has a state for each count, [base, base + span], which need no room: they
 * are numbers beyond those of the written states. A count of `least` that may grow without bound stays there.
 */
export interface Counter {
  readonly rule: number;
  readonly body: number;
  readonly base: number;
  readonly least: number;
  /** Infinity where there is no bound. */
  readonly most: number;
}

export interface Automaton {
  /** Written states; counted ones follow. */
  readonly states: number;
  readonly rules: number;
  /** Where each rule begins. */
  readonly starts: Float64Array;
  readonly root: number;
  readonly nullable: Uint8Array;
  /** Whether the rule may end in this state. */
  readonly final: Uint8Array;
  /** Whether it does nothing else there. */
  readonly onlyFinal: Uint8Array;
  /** Whether the model speaks freely there, so tokens that are no text may come. */
  readonly free: Uint8Array;
  /** Bytes that no edge tells apart are of one class; classes go up with the bytes. */
  readonly classOf: Uint8Array;
  readonly classes: number;
  readonly bytes: EdgeTable;
  readonly calls: EdgeTable;
  readonly empty: EdgeTable;
  readonly tokens: EdgeTable;
  readonly counters: readonly Counter[];
}

/** Label of a token edge that every control token may take but those that end a generation. */
export const anyControlToken = -1;
