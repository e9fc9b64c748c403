/** What may come next in one sequence, such as what a grammar allows; see `Sampler`. */
export interface Constraint {
  /** Sets the logits of all tokens that may not come next to -Infinity. Called before the chain, once a token. */
  mask(logits: Float32Array): void;
  /** Told of every token of the output, in order; not of the prompt's. */
  accept(token: number): void;
  /** Whether nothing may follow but the end: then the sequence ends without a token for it. */
  readonly isComplete?: boolean;
}
