import { StowageError } from "../errors.ts";
import type { KvRun } from "../kv/cache.ts";
import type { Pooling, TextPooling } from "../model/pooling.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { checkTokens } from "./sequence.ts";

/** What the engine is asked for. */
export interface EmbeddingRequest {
  /** At least one, and no more than the context. */
  readonly tokens: ArrayLike<number>;
  readonly pooling: Pooling;
}

export interface Embedding {
  /** One, or with pooling `none` one a token; as the model gives them, not normalised. */
  readonly vectors: readonly Float32Array[];
  readonly promptTokens: number;
  /** Of those, the ones whose keys and values were there already. */
  readonly cachedTokens: number;
}

/** A text on its way through the engine whose final states are wanted, and no tokens after it. */
export class EmbeddingSequence {
  readonly id: number;
  /** ms of the engine's clock. */
  readonly arrived: number;
  readonly tokens: readonly number[];
  /** Rejects with request_cancelled, kv_exhausted, engine_closed, or whatever a step failed with. */
  readonly result: Promise<Embedding>;
  /** KV cells; undefined while it waits. */
  run: KvRun | undefined;
  cachedTokens = 0;
  cancelled = false;
  finished = false;
  readonly paused = false;
  readonly #pooling: Pooling;
  readonly #onCancel: () => void;
  #resolve!: (embedding: Embedding) => void;
  #reject!: (error: unknown) => void;
  #vectors: Float32Array[] = [];
  #sum: Float64Array | undefined;

  /** @throws StowageError request_empty, request_too_long, token_invalid */
  constructor(parts: {
    id: number;
    arrived: number;
    request: EmbeddingRequest;
    vocabulary: number;
    contextTokens: number;
    onCancel: () => void;
  }) {
    const { request, contextTokens, vocabulary } = parts;
    const tokens = request.tokens.length;
    if (tokens === 0) throw new StowageError("request_empty", {});
    if (tokens > contextTokens)
      throw new StowageError("embedding_too_long", { tokens, limit: contextTokens });
    this.id = parts.id;
    this.arrived = parts.arrived;
    this.tokens = checkTokens(request.tokens, vocabulary);
    this.#pooling = request.pooling;
    this.#onCancel = parts.onCancel;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever has gone away does not hear of it.
    this.result.catch(() => {});
  }

  get promptTokens(): number {
    return this.tokens.length;
  }

  /** Tokens whose states are still to be computed. */
  get pending(): number {
    return this.tokens.length - (this.run?.tokens.length ?? 0);
  }

  /** Whether keys and values of others that began alike save work: not where the states of all tokens are wanted. */
  get reusesPrefix(): boolean {
    return this.#pooling === "last";
  }

  /** Of so many tokens in a step, those whose states are wanted. */
  statesOf(tokens: number): number {
    return this.#pooling === "last" ? 1 : tokens;
  }

  /** Ends it within one step. */
  cancel(): void {
    if (this.cancelled || this.finished) return;
    this.cancelled = true;
    this.#onCancel();
  }

  /** It has its KV cells; what was gathered before it lost others is computed anew. */
  begin(run: KvRun): void {
    this.run = run;
    this.cachedTokens = run.tokens.length;
    this.#vectors = [];
    this.#sum = undefined;
  }

  /**
   * Takes the states of a step's tokens.
   * @param rows [states][width]
   * @returns whether that was all
   */
  gather(rows: Float32Array, width: number): boolean {
    const count = rows.length / width;
    const row = (index: number) => rows.subarray(index * width, (index + 1) * width);
    if (this.#pooling === "mean") {
      this.#sum ??= new Float64Array(width);
      for (let index = 0; index < count; index++) add(this.#sum, row(index));
    } else if (this.#pooling === "none") {
      for (let index = 0; index < count; index++) this.#vectors.push(row(index).slice());
    } else if (this.#pooling === "last" || this.#vectors.length === 0) {
      this.#vectors = [row(0).slice()];
    }
    if (this.pending > 0) return false;
    this.#finish();
    return true;
  }

  #finish(): void {
    this.finished = true;
    const mean = this.#sum?.map((value) => value / this.tokens.length);
    this.#resolve({
      vectors: mean ? [Float32Array.from(mean)] : this.#vectors,
      promptTokens: this.tokens.length,
      cachedTokens: this.cachedTokens,
    });
  }

  /** Ends it, cancelled, without its result. */
  finish(_reason: "cancelled"): void {
    this.fail(new StowageError("request_cancelled", {}));
  }

  fail(error: unknown): void {
    this.finished = true;
    this.#reject(error);
  }
}

function add(sum: Float64Array, row: Float32Array): void {
  for (let index = 0; index < sum.length; index++) sum[index]! += row[index]!;
}

/** The tokens of a text that is to be embedded: what looks like a control token in it stays text. */
export function textTokens(tokenizer: Tokenizer, text: string): Int32Array {
  return tokenizer.encode(text, { addSpecial: true, parseSpecial: false });
}

/** What embeddings start from, and how they are made. */
export interface EmbedOptions {
  /** Default: the model's; see {@link LoadedModel.pooling}. */
  readonly pooling?: Pooling;
  /** Elements to keep of each vector. Default all. */
  readonly dimensions?: number;
}

/**
 * The pooling that a request gets.
 * @throws StowageError embedding_pooling when that gives no vector for a text
 */
export function poolingFor(asked: Pooling | undefined, usual: Pooling | "rank"): TextPooling {
  const pooling = asked ?? usual;
  if (pooling === "rank") {
    throw new StowageError("embedding_pooling", {
      reason: "the model was trained to rank texts, which is not supported.",
    });
  }
  if (pooling === "none") {
    throw new StowageError("embedding_pooling", { reason: 'the pooling is "none".' });
  }
  return pooling;
}

/**
 * Of length 1, and with fewer elements where asked: models that were trained for it keep most of their meaning in the
 * first ones. A vector of zeros stays one.
 * @throws StowageError embedding_dimensions
 */
export function shapeVector(vector: Float32Array, dimensions: number = vector.length): Float32Array {
  if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > vector.length) {
    throw new StowageError("embedding_dimensions", {
      value: dimensions,
      limit: vector.length,
      field: "dimensions",
    });
  }
  const kept = vector.subarray(0, dimensions);
  const length = Math.sqrt(kept.reduce((sum, value) => sum + value * value, 0));
  return kept.map((value) => (length > 0 ? value / length : 0));
}
