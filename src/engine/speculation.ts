import { StowageError } from "../errors.ts";
import { mostTokens, NgramIndex } from "./ngram-index.ts";

/** Whether tokens are drafted: as long as that pays, never, or so many wherever something can be drafted. */
export type Speculate = "auto" | "off" | number;

/** What speculation asks of a sequence that decodes. */
export interface Drafting {
  /** Prompt, then what was generated. */
  readonly tokens: readonly number[];
  readonly generatedTokens: number;
  readonly maxTokens: number;
}

/** What drafts came to since the engine started. */
export interface SpeculationTotals {
  /** Steps that had drafts. */
  readonly steps: number;
  readonly drafted: number;
  readonly accepted: number;
}

/** Most tokens of a step that has drafts. */
export const mostDraftedRows = 16;
/** Longest draft that can be asked for. */
export const mostDraft = mostDraftedRows - 1;
/** Of two lengths alone, so that the graphs of steps are there already. The longer follows on one that was right. */
const shortDraft = 4;
const longDraft = 8;
/** A draft costs at most this share of the time without drafts, in the long run. */
const stake = 0.01;
/** Steps before the first draft, and what that may cost, in steps: an engine has to be tried once. */
const stepsBefore = 8;
const firstStake = 1.5;
/** Past gains are no reason to lose more than so many steps; and a disturbed step is none to stop for longer. */
const mostCredit = 10;
/** How fast the notion of a step's time follows. */
const weight = 0.1;

/** @throws StowageError load_option */
export function checkSpeculate(value: unknown): Speculate {
  if (value === "auto" || value === "off") return value;
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= mostDraft) {
    return value as number;
  }
  const range = `"auto", "off" or a whole number from 1 to ${mostDraft}`;
  throw new StowageError("load_option", { option: "speculate", value: String(value), range });
}

/**
 * Drafts without a second model: where the last tokens of a sequence have stood before, what followed them then is
 * guessed to follow again. The next step computes the guesses together with the token before them, and each is
 * sampled as if it came alone; so a wrong guess costs time, and never changes a token.
 * A batch drafts together or not at all, so that its graphs are few.
 */
export class Speculation {
  readonly #mode: Speculate;
  /** Whether a step of so many tokens runs as one kept graph. */
  readonly #isWhole: (tokens: number) => boolean;
  readonly #drafters = new WeakMap<Drafting, Drafter>();
  /** By the number of sequences. */
  readonly #accounts = new Map<number, Account>();
  #steps = 0;
  #drafted = 0;
  #accepted = 0;

  constructor(mode: Speculate, isWhole: (tokens: number) => boolean) {
    this.#mode = mode;
    this.#isWhole = isWhole;
  }

  get totals(): SpeculationTotals {
    return { steps: this.#steps, drafted: this.#drafted, accepted: this.#accepted };
  }

  /** Tokens that may follow, equally many for each of a step's sequences; undefined when none are to be tried. */
  draft(sequences: readonly Drafting[]): number[][] | undefined {
    const count = sequences.length;
    if (this.#mode === "off" || count === 0) return undefined;
    const least = this.#mode === "auto" ? shortDraft : this.#mode;
    if (!this.#allows(sequences, least)) return undefined;
    if (this.#mode === "auto" && !this.#accountOf(count).canPay) return undefined;

    const drafters = sequences.map((sequence) => this.#drafterOf(sequence));
    if (!drafters.every((drafter) => drafter.find(this.#mode === "auto"))) return undefined;
    const goesLong = this.#mode === "auto" && drafters.every(({ wasRight }) => wasRight);
    const length = goesLong && this.#allows(sequences, longDraft) ? longDraft : least;
    return drafters.map((drafter) => drafter.draft(length));
  }

  /**
   * Told of every step in which all sequences decode.
   * @param draft tokens of each sequence's draft; 0 for a step without
   * @param accepted of each sequence's draft, the tokens that came to be
   */
  observe(sequences: readonly Drafting[], ms: number, draft: number, accepted: readonly number[]): void {
    const account = this.#accountOf(sequences.length);
    if (draft === 0) {
      account.withoutDrafts(ms);
      return;
    }
    const total = accepted.reduce((sum, count) => sum + count, 0);
    this.#steps++;
    this.#drafted += draft * sequences.length;
    this.#accepted += total;
    account.withDrafts(ms, total / sequences.length);
    for (const [index, sequence] of sequences.entries()) {
      this.#drafterOf(sequence).learn(draft, accepted[index]!);
    }
  }

  /** Whether there is room for drafts of this length, in the step and in what is left to generate. */
  #allows(sequences: readonly Drafting[], length: number): boolean {
    const rows = sequences.length * (length + 1);
    if (rows > mostDraftedRows) return false;
    if (this.#mode === "auto" && !this.#isWhole(rows)) return false;
    return sequences.every(({ generatedTokens, maxTokens }) => maxTokens - generatedTokens > length);
  }

  #drafterOf(sequence: Drafting): Drafter {
    const drafter = this.#drafters.get(sequence) ?? new Drafter(sequence.tokens);
    this.#drafters.set(sequence, drafter);
    return drafter;
  }

  #accountOf(sequences: number): Account {
    const account = this.#accounts.get(sequences) ?? new Account();
    this.#accounts.set(sequences, account);
    return account;
  }
}

/** Guesses for one sequence. Wrong ones make it ask for longer agreements before the next. */
class Drafter {
  readonly #index: NgramIndex;
  #leastLength = 3;
  #at = 0;
  /** Whether all of its last draft came to be. */
  wasRight = false;

  constructor(tokens: readonly number[]) {
    this.#index = new NgramIndex(tokens);
  }

  /** @param careful whether wrong guesses count */
  find(careful: boolean): boolean {
    const match = this.#index.match();
    if (!match || (careful && match.length < this.#leastLength)) return false;
    this.#at = match.at;
    return true;
  }

  draft(length: number): number[] {
    return this.#index.from(this.#at, length);
  }

  learn(drafted: number, accepted: number): void {
    this.wasRight = accepted === drafted;
    if (2 * accepted >= drafted) this.#leastLength = 3;
    else if (accepted === 0) this.#leastLength = Math.min(2 * this.#leastLength, mostTokens);
  }
}

/**
 * What drafts cost and gain at one number of sequences. Drafts are paid out of credit, which grows by a small share of
 * the time without drafts and by what drafts have gained: so they cost no more than that share, however wrong they are.
 */
class Account {
  #stepMs = 0;
  #seen = 0;
  #credit = 0;
  /** What a draft costs beyond a step without, where it is known. */
  #extraMs: number | undefined;

  get canPay(): boolean {
    return this.#seen >= stepsBefore && this.#credit >= (this.#extraMs ?? this.#stepMs);
  }

  withoutDrafts(ms: number): void {
    this.#seen++;
    // A step that was disturbed is not what a step takes.
    const usual = this.#seen > stepsBefore ? Math.min(ms, 2 * this.#stepMs) : ms;
    this.#stepMs = this.#seen === 1 ? ms : this.#stepMs + (usual - this.#stepMs) * weight;
    this.#pay(this.#seen === stepsBefore ? firstStake * this.#stepMs : stake * usual);
  }

  withDrafts(ms: number, accepted: number): void {
    const extra = Math.max(ms - this.#stepMs, 0);
    this.#extraMs = this.#extraMs === undefined ? extra : this.#extraMs + (extra - this.#extraMs) * weight;
    this.#pay((1 + accepted) * this.#stepMs - ms);
  }

  #pay(ms: number): void {
    const most = mostCredit * this.#stepMs;
    this.#credit = Math.min(Math.max(this.#credit + ms, -most), most);
  }
}
