import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";

/** One token of a batch. */
export interface LlamaBatchEntry {
  readonly token: number;
  readonly position: number;
  readonly sequence: number;
  /** Whether the logits after this token are asked for. */
  readonly wantLogits: boolean;
}

/** The columns of a native batch, by field of `llama_batch`, each an allocation of its own. */
interface Columns {
  readonly token: Pointer;
  readonly pos: Pointer;
  readonly n_seq_id: Pointer;
  readonly seq_id: Pointer;
  readonly logits: Pointer;
}

/**
 * Tokens for one `llama_decode`, in memory that is written in place and used again from step to step.
 * One owner; freed by `dispose`.
 */
export class LlamaBatch {
  readonly capacity: number;
  #columns: Columns | undefined;
  readonly #sequenceCells: Pointer;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #sequences: Int32Array;
  readonly #logits: Int8Array;
  #length = 0;

  /** @param capacity most tokens that fit */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#columns = {
      token: koffi.alloc("int32_t", capacity),
      pos: koffi.alloc("int32_t", capacity),
      n_seq_id: koffi.alloc("int32_t", capacity),
      seq_id: koffi.alloc("void*", capacity),
      logits: koffi.alloc("int8_t", capacity),
    };
    this.#sequenceCells = koffi.alloc("int32_t", capacity);
    this.#tokens = new Int32Array(koffi.view(this.#columns.token, 4 * capacity));
    this.#positions = new Int32Array(koffi.view(this.#columns.pos, 4 * capacity));
    this.#sequences = new Int32Array(koffi.view(this.#sequenceCells, 4 * capacity));
    this.#logits = new Int8Array(koffi.view(this.#columns.logits, capacity));
    new Int32Array(koffi.view(this.#columns.n_seq_id, 4 * capacity)).fill(1);
    const lists = new BigUint64Array(koffi.view(this.#columns.seq_id, 8 * capacity));
    for (let index = 0; index < capacity; index++) lists[index] = this.#sequenceCells + BigInt(4 * index);
  }

  /** Tokens in it now. */
  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
  }

  /** @throws StowageError native_call_failed when it is full, native_disposed */
  add(token: number, position: number, sequence: number, wantLogits: boolean): void {
    const index = this.#length;
    this.#alive();
    if (index >= this.capacity) {
      throw new StowageError("native_call_failed", {
        call: "llama_decode",
        reason: `more than ${this.capacity} tokens were put into one batch.`,
      });
    }
    this.#tokens[index] = token;
    this.#positions[index] = position;
    this.#sequences[index] = sequence;
    this.#logits[index] = wantLogits ? 1 : 0;
    this.#length++;
  }

  /** The batch as `llama_decode` takes it; for `src/ggml` only. */
  struct(): Record<string, Pointer | number> {
    return { n_tokens: this.#length, embd: 0n, ...this.#alive() };
  }

  dispose(): void {
    if (!this.#columns) return;
    for (const column of Object.values(this.#columns)) koffi.free(column);
    koffi.free(this.#sequenceCells);
    this.#columns = undefined;
  }

  #alive(): Columns {
    if (!this.#columns) throw new StowageError("native_disposed", { what: "A llama batch" });
    return this.#columns;
  }
}
