import type { StowageError } from "../errors.ts";
import { RoutingTraceWriter } from "../experts/trace/writer.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import type { RoutingTap } from "../model/routing-tap.ts";

/** Where routing is recorded, by whoever goes on for long. */
export interface RoutingRecord {
  readonly path: string;
  /** An earlier trace stays: a number is appended to the path. */
  readonly keepEarlier: true;
  /** Told once when nothing can be written any more; steps go on. Without it, they fail. */
  readonly onFailure: (error: StowageError) => void;
}

/** What a step ran of one sequence. */
export interface RecordedShare {
  readonly request: number;
  /** Of its first token. */
  readonly position: number;
  /** All that ran; of them, the first `kept` count. */
  readonly tokens: readonly number[];
  readonly kept: number;
  /** Tokens of the sequence's prompt. */
  readonly promptTokens: number;
}

/** Writes what routers said and chose into a trace, step by step. Owns the file. */
export class RoutingRecorder {
  readonly tap: RoutingTap;
  readonly #writer: RoutingTraceWriter;
  readonly #layers: number;
  readonly #firstLayer: number;
  readonly #experts: number;
  readonly #used: number;
  readonly #onFailure: RoutingRecord["onFailure"] | undefined;
  #step = 0;
  #failed = false;

  /** @throws StowageError routing_trace_write */
  static async create(
    record: string | RoutingRecord,
    model: string,
    h: Hyperparameters,
    tap: RoutingTap,
  ): Promise<RoutingRecorder> {
    const layers = h.layers - h.denseLayers;
    const source = { model, layers, experts: h.experts, used: h.expertsUsed };
    const [path, options] = typeof record === "string" ? [record, undefined] : [record.path, record];
    const writer = await RoutingTraceWriter.create(path, source, options);
    return new RoutingRecorder(tap, writer, h, options?.onFailure);
  }

  private constructor(
    tap: RoutingTap,
    writer: RoutingTraceWriter,
    h: Hyperparameters,
    onFailure: RoutingRecord["onFailure"] | undefined,
  ) {
    this.#onFailure = onFailure;
    this.tap = tap;
    this.#writer = writer;
    this.#firstLayer = h.denseLayers;
    this.#layers = h.layers - h.denseLayers;
    this.#experts = h.experts;
    this.#used = h.expertsUsed;
  }

  /** The file. */
  get path(): string {
    return this.#writer.path;
  }
  get tokens(): number {
    return this.#writer.tokens;
  }
  get bytes(): number {
    return this.#writer.bytes;
  }

  /** Records the step that has just run. @throws StowageError routing_trace_write, where nobody else is told */
  async stepped(shares: readonly RecordedShare[]): Promise<void> {
    if (this.#failed) return;
    this.#record(shares);
    await this.#writer.ready().catch((error: unknown) => this.#fail(error));
  }

  #record(shares: readonly RecordedShare[]): void {
    const count = shares.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const numbers = Array.from({ length: this.#layers }, (_, index) => this.#firstLayer + index);
    const logits = numbers.map((layer) => this.tap.logits(layer, count));
    const chosen = numbers.map((layer) => this.tap.chosen(layer, count));
    const guessed = numbers.map((layer) => this.tap.guessed(layer, count));
    const early = numbers.map((layer) => this.tap.early(layer, count));
    const step = this.#step++;
    let row = 0;
    for (const { request, position: first, tokens, kept, promptTokens } of shares) {
      for (let index = 0; index < kept; index++) {
        const position = first + index;
        const decoded = position >= promptTokens;
        const at = row + index;
        this.#writer.add(
          { request, position, token: tokens[index]!, step, decoded },
          {
            logits: logits.map((all) => all.subarray(at * this.#experts, (at + 1) * this.#experts)),
            chosen: chosen.map((all) => all.subarray(at * this.#used, (at + 1) * this.#used)),
            guessed: guessed.map((all) => all.subarray(at * this.#used, (at + 1) * this.#used)),
            early: early.map((all) => all.subarray(at * this.#used, (at + 1) * this.#used)),
          },
        );
      }
      row += tokens.length;
    }
  }

  /** @throws StowageError routing_trace_write, where nobody else is told */
  async close(): Promise<void> {
    await this.#writer.close().catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (!this.#onFailure) throw error;
    if (!this.#failed) this.#onFailure(error as StowageError);
    this.#failed = true;
  }
}
