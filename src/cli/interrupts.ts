/** Signals so close together, ms, are one Ctrl-C: npm passes on what the terminal has sent to every process. */
const sameInterruptMs = 500;

/** Ctrl-C, counted once. What it does is what was last set. */
export class Interrupts {
  #act: () => void;
  #last = Number.NEGATIVE_INFINITY;

  constructor(act: () => void) {
    this.#act = act;
    process.on("SIGINT", this.#onSignal);
  }

  /** From now on, Ctrl-C calls `act`. */
  set(act: () => void): void {
    this.#act = act;
  }

  dispose(): void {
    process.off("SIGINT", this.#onSignal);
  }

  readonly #onSignal = () => {
    const now = performance.now();
    const repeated = now - this.#last < sameInterruptMs;
    this.#last = now;
    if (!repeated) this.#act();
  };
}
