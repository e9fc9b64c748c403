/** What a step asks a lossy mode about: the experts that it has chosen at a layer. */
export interface Choice {
  readonly layer: number;
  readonly experts: readonly number[];
  /**
   * By expert, the greatest share that it has of the router's weights of one token: 1 where it is the only one of a token.
   * Undefined in long steps, which need nearly all experts anyway.
   */
  readonly shares: Float32Array | undefined;
}

/** In which precision the experts of a choice are run. Every expert is in one of the three. */
export interface Division {
  readonly full: readonly number[];
  readonly low: readonly number[];
  /** These add nothing to their tokens. */
  readonly skipped: readonly number[];
}

/** Whether an expert of a layer is in memory, or on its way there. */
export interface Presence {
  full(layer: number, expert: number): boolean;
  low(layer: number, expert: number): boolean;
}

/** A published way to trade exactness for fewer bytes from the disk. Pure: no I/O and no clock. */
export interface LossyMode {
  readonly name: "hobbit" | "edgemoe";
  /** With which settings, for people. */
  readonly says: string;
  divide(choice: Choice, presence: Presence): Division;
  /** Experts of a layer that may be read ahead in this precision: none where copies only stand in for what is missing. */
  ahead(layer: number, precision: "full" | "low"): readonly number[];
}
