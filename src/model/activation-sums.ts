import type { Backend } from "../ggml/backend.ts";
import { Buffer, tensorAlignment } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { Scope } from "./blocks.ts";
import type { ImportanceEntry } from "./importance.ts";

const floatBytes = 4;
/** Memory for sums is taken so much at a time. */
const blockBytes = 1 << 20;

/** What one product was given, and where its sums will be once the graph has run. */
interface Pending {
  readonly names: readonly string[];
  readonly expert: number | undefined;
  readonly rows: number;
  readonly sums: Float32Array;
}

/** Of one matrix or of one an expert: by matrix, then by column. */
interface Total {
  readonly sums: Float64Array[];
  readonly counts: Float64Array;
}

/**
 * Sums up, while a model reads a text, the squares of what its matrices are multiplied with, column by column: an
 * importance matrix. The sums are made by nodes of the step's own graphs, so that no activation is kept.
 */
export class ActivationSums {
  readonly #backend: Backend;
  readonly #experts: number;
  readonly #context: Context;
  readonly #ones: Tensor;
  readonly #onesMemory: Buffer;
  readonly #blocks: Buffer[] = [];
  /** Of the first so many blocks, all is taken; and so much of the next. */
  #full = 0;
  #used = 0;
  #pending: Pending[] = [];
  readonly #totals = new Map<string, Total>();

  /**
   * @param experts of each layer; 0 for a dense model
   * @param maxTokens the most rows of one product
   */
  constructor(backend: Backend, experts: number, maxTokens: number) {
    this.#backend = backend;
    this.#experts = experts;
    this.#context = new Context(backend.native, { tensors: 1 });
    this.#ones = this.#context.tensor("F32", [1, maxTokens]);
    this.#onesMemory = backend.allocate([this.#ones]);
    this.#ones.floats().fill(1);
  }

  /**
   * Adds nodes that sum up the squares of x.
   * @param names of the tensors that are multiplied with x [columns, rows, heads]: where there are several heads, each
   *   has a matrix of its own and is summed up by itself
   * @param expert whose matrix it is, of tensors that have one for each expert
   */
  add({ context, graph }: Scope, names: readonly string[], x: Tensor, expert?: number): void {
    const [columns, rows, heads] = x.shape;
    // The ones of every head are the same.
    const ones = context.view(this.#ones, [1, rows, heads], [this.#ones.strides[1], 0], 0);
    const sums = context.outerProduct(context.mul(x, x), ones);
    this.#place(sums, columns * heads * floatBytes);
    graph.expand(sums);
    this.#pending.push({ names, expert, rows, sums: sums.floats() });
  }

  /** The step's graphs have run: its sums count. */
  commit(): void {
    for (const { names, expert, rows, sums } of this.#pending) {
      for (const name of names) {
        const total = this.#totalOf(name, expert === undefined ? 1 : this.#experts, sums.length);
        const into = total.sums[expert ?? 0]!;
        for (let column = 0; column < sums.length; column++) into[column]! += sums[column]!;
        total.counts[expert ?? 0]! += rows;
      }
    }
    this.drop();
  }

  /** The step did not run. */
  drop(): void {
    this.#pending = [];
    this.#full = 0;
    this.#used = 0;
  }

  /** Of everything that was committed, by the name of the tensor. */
  entries(): Map<string, ImportanceEntry> {
    return new Map(
      [...this.#totals].map(([name, { sums, counts }]) => {
        const columns = sums[0]!.length;
        const all = new Float32Array(columns * sums.length);
        for (const [matrix, column] of sums.entries()) all.set(column, matrix * columns);
        return [name, { sums: all, counts: Float32Array.from(counts) }];
      }),
    );
  }

  dispose(): void {
    this.#context.dispose();
    this.#onesMemory.dispose();
    for (const block of this.#blocks) block.dispose();
  }

  #totalOf(name: string, matrices: number, columns: number): Total {
    const known = this.#totals.get(name);
    if (known) return known;
    const sums = Array.from({ length: matrices }, () => new Float64Array(columns));
    const total = { sums, counts: new Float64Array(matrices) };
    this.#totals.set(name, total);
    return total;
  }

  /** Where the step's graphs do not reach it: their working memory is used over and over. */
  #place(tensor: Tensor, bytes: number): void {
    const { native, hostBufferType } = this.#backend;
    const needed = Math.ceil(bytes / tensorAlignment) * tensorAlignment;
    if (this.#blocks[this.#full] && this.#used + needed > this.#blocks[this.#full]!.byteLength) {
      this.#full++;
      this.#used = 0;
    }
    this.#blocks[this.#full] ??= Buffer.allocate(native, hostBufferType, Math.max(blockBytes, needed));
    this.#blocks[this.#full]!.placeAt(tensor, this.#used);
    this.#used += needed;
  }
}
