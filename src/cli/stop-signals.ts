/** Signals so close together, ms, are one: npm and the launcher pass on what the terminal has sent to all. */
const sameSignalMs = 500;

/** What a shell reports for a program that the signal ended: 128 and its number. */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

type Stop = keyof typeof exitCodes;

/** SIGINT and SIGTERM: the first asks to stop, the next ends the process at once. */
export class StopSignals {
  readonly #stop: () => void;
  #first: number | undefined;

  /** @param stop - Called once. */
  constructor(stop: () => void) {
    this.#stop = stop;
    for (const name of Object.keys(exitCodes)) process.on(name, this.#onSignal);
  }

  dispose(): void {
    for (const name of Object.keys(exitCodes)) process.off(name, this.#onSignal);
  }

  readonly #onSignal = (signal: Stop) => {
    const now = performance.now();
    if (this.#first === undefined) {
      this.#first = now;
      this.#stop();
    } else if (now - this.#first >= sameSignalMs) process.exit(exitCodes[signal]);
  };
}
