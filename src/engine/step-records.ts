/** What a step held and how long its parts took, ms. */
export interface StepRecord {
  /** When it began, ms of the engine's clock. */
  readonly at: number;
  readonly prefillTokens: number;
  readonly decodeSequences: number;
  /** Tokens of drafts, beside the one token of each decoding sequence. */
  readonly draftedTokens: number;
  /** Tokens in the KV cache of its sequences, after it. */
  readonly contextTokens: number;
  readonly prepareMs: number;
  readonly computeMs: number;
  readonly sampleMs: number;
  /** Whether its graph was there already. */
  readonly reused: boolean;
}

const capacity = 1024;

/** The latest steps, oldest first to go. */
export class StepRecords {
  readonly #records: StepRecord[] = [];
  #next = 0;
  #total = 0;

  add(record: StepRecord): void {
    this.#records[this.#next] = record;
    this.#next = (this.#next + 1) % capacity;
    this.#total++;
  }

  /** Steps since the engine started. */
  get total(): number {
    return this.#total;
  }

  /** Oldest first. */
  list(): StepRecord[] {
    return [...this.#records.slice(this.#next), ...this.#records.slice(0, this.#next)];
  }
}
