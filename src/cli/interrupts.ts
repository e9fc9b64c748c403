/** What a shell reports for a program that Ctrl-C ended: 128 + SIGINT. */
export const interruptedCode = 130;

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

/**
 * Does something that Ctrl-C ends: the signal is aborted then, what is thrown for that is no failure, and the exit code
 * is {@link interruptedCode}.
 * @param work given the interrupts too, for whom Ctrl-C means something else in between
 */
export async function untilInterrupted(
  work: (signal: AbortSignal, interrupts: Interrupts) => Promise<void>,
): Promise<void> {
  const abort = new AbortController();
  const interrupts = new Interrupts(() => abort.abort());
  try {
    await work(abort.signal, interrupts);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    interrupts.dispose();
  }
  if (abort.signal.aborted) process.exitCode = interruptedCode;
}
