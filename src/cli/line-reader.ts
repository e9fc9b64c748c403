import { createInterface, type Interface } from "node:readline";

/**
 * Lines that a person types at a terminal, with a history on the arrow keys. Between two questions the terminal is in
 * its normal mode, so that Ctrl-C arrives as a signal.
 */
export class LineReader {
  readonly #readline: Interface;
  /** Lines that were pasted together with one before. */
  readonly #lines: string[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  constructor() {
    this.#readline = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
    this.#readline.on("line", (line) => {
      this.#lines.push(line);
      this.#wake?.();
    });
    this.#readline.on("close", () => {
      this.#closed = true;
      this.#wake?.();
    });
    this.#readline.on("SIGINT", () => this.#readline.close());
  }

  /** The next line; undefined after Ctrl-D or Ctrl-C. */
  async ask(): Promise<string | undefined> {
    if (this.#lines.length === 0 && !this.#closed) {
      process.stdin.setRawMode(true);
      this.#readline.resume();
      this.#readline.prompt();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if (!this.#closed) this.#readline.pause();
      process.stdin.setRawMode(false);
    }
    return this.#lines.shift();
  }

  close(): void {
    this.#readline.close();
  }
}
