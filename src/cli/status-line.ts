/** One line on a terminal that says what is going on; nothing is written where stderr is none. */
export class StatusLine {
  #drawn = false;

  /** Takes the place of what stood there. */
  say(text: string): void {
    if (!process.stderr.isTTY) return;
    process.stderr.write(`\r\x1b[2K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    this.#drawn = true;
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#drawn) process.stderr.write("\r\x1b[2K");
    this.#drawn = false;
  }
}
