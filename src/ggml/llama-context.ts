import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import { LlamaBatch, type LlamaBatchEntry } from "./llama-batch.ts";
import type { LlamaModel } from "./llama-model.ts";
import { contextParamsLayout, withFields } from "./llama-params.ts";
import { threadpoolLayout } from "./struct.ts";
import { type TensorType, tensorTypes } from "./types.ts";

/** What is left out is as llama.cpp does it by itself. */
export interface LlamaContextOptions {
  /** Room for tokens, shared by all sequences. */
  readonly contextTokens: number;
  /** Most tokens of one `decode`. */
  readonly batchTokens?: number;
  /** Most tokens that are computed at once. */
  readonly microBatchTokens?: number;
  /** Most sequences side by side; their numbers are 0 to this, exclusive. */
  readonly sequences?: number;
  readonly threads: number;
  readonly flashAttention?: boolean;
  /** Types of keys and values. */
  readonly kvTypes?: { readonly keys: TensorType; readonly values: TensorType };
  /** One KV cache for all sequences; else each has an equal part of its own. */
  readonly unifiedKv?: boolean;
  /** Vectors instead of logits: one a token (`none`), or one a sequence. */
  readonly embeddings?: (typeof llamaPoolings)[number];
}

/** llama.cpp's numbers. */
const llamaPoolings = ["none", "mean", "cls", "last"] as const;

const defaultBatchTokens = contextParamsLayout.batchTokens.default;

/**
 * A KV cache and a thread pool over a {@link LlamaModel}. Calls block the event loop while they compute: this is
 * for tests and for the benchmark's peer process, where nothing else runs.
 *
 * The pool lives as long as the context, as in llama.cpp's own server and benchmark: without one, this build
 * (it has no OpenMP) starts its threads anew for every graph.
 */
export class LlamaContext {
  readonly model: LlamaModel;
  /** The batch that {@link LlamaContext.run} takes its tokens from. */
  readonly batch: LlamaBatch;
  #pointer: Pointer;
  #threadpool: Pointer;
  /** Views by address: libllama's output buffer stays where it is, and making a view costs 15 µs. */
  readonly #logits = new Map<Pointer, Float32Array<ArrayBuffer>>();

  /** @throws StowageError native_call_failed when memory is short or the options do not fit the model */
  constructor(model: LlamaModel, options: LlamaContextOptions) {
    const { functions, contextDefaults, native } = model.llama;
    const batchTokens = Math.min(options.batchTokens ?? defaultBatchTokens, options.contextTokens);
    const { microBatchTokens, sequences, flashAttention, kvTypes, unifiedKv, embeddings } = options;
    const bytes = withFields(contextDefaults, contextParamsLayout, {
      contextTokens: options.contextTokens,
      batchTokens,
      threads: options.threads,
      batchThreads: options.threads,
      ...(microBatchTokens !== undefined && { microBatchTokens }),
      ...(sequences !== undefined && { sequences }),
      ...(flashAttention !== undefined && { flashAttention }),
      ...(kvTypes && { typeK: tensorTypes[kvTypes.keys].id, typeV: tensorTypes[kvTypes.values].id }),
      ...(unifiedKv !== undefined && { unifiedKv }),
      ...(embeddings !== undefined && { embeddings: true, pooling: llamaPoolings.indexOf(embeddings) }),
    });
    this.model = model;
    this.#pointer = functions.llama_init_from_model(model.pointer, { bytes });
    if (!this.#pointer) {
      throw new StowageError("native_call_failed", {
        call: "llama_init_from_model",
        reason: `no context of ${options.contextTokens} tokens could be made.`,
      });
    }
    const params: Pointer = koffi.alloc("uint8", threadpoolLayout.size);
    native.ggml.ggml_threadpool_params_init(params, options.threads);
    this.#threadpool = native.cpu.ggml_threadpool_new(params);
    koffi.free(params);
    functions.llama_attach_threadpool(this.#pointer, this.#threadpool, null);
    this.batch = new LlamaBatch(batchTokens);
    model.own(this);
  }

  /** Tokens that one sequence may have. */
  get tokensPerSequence(): number {
    return this.model.llama.functions.llama_n_ctx_seq(this.#alive());
  }

  /**
   * Puts the entries into {@link LlamaContext.batch} and runs it.
   * @returns a copy of the logits of each entry that asked for them, in order, each of the vocabulary's size
   * @throws StowageError native_call_failed, native_disposed
   */
  decode(entries: readonly LlamaBatchEntry[]): Float32Array[] {
    this.batch.clear();
    for (const entry of entries) {
      this.batch.add(entry.token, entry.position, entry.sequence, entry.wantLogits);
    }
    this.run();
    return entries.flatMap((entry, index) => (entry.wantLogits ? [this.logits(index).slice()] : []));
  }

  /**
   * Computes {@link LlamaContext.batch} as it stands.
   * @throws StowageError native_call_failed when libllama refuses it (an unknown token, a sequence or position out
   * of range, a full KV cache), native_disposed
   */
  run(): void {
    const status: number = this.model.llama.functions.llama_decode(this.#alive(), this.batch.struct());
    if (status === 0) return;
    const reason = status === 1 ? "no room is left in the KV cache." : `status ${status}.`;
    throw new StowageError("native_call_failed", { call: "llama_decode", reason });
  }

  /**
   * The logits after the batch's token `index`, in place: valid until the next run.
   * @throws StowageError native_call_failed when that token did not ask for them, native_disposed
   */
  logits(index: number): Float32Array<ArrayBuffer> {
    const pointer: Pointer = this.model.llama.functions.llama_get_logits_ith(this.#alive(), index);
    if (!pointer) {
      throw new StowageError("native_call_failed", {
        call: "llama_get_logits_ith",
        reason: `token ${index} of the batch has no logits.`,
      });
    }
    let view = this.#logits.get(pointer);
    if (!view) {
      view = new Float32Array(koffi.view(pointer, 4 * this.model.vocabulary.size));
      this.#logits.set(pointer, view);
    }
    return view;
  }

  /**
   * A copy of the vector of one sequence of the batch, or with pooling `none` of its token `index`.
   * @throws StowageError native_call_failed when there is none, native_disposed
   */
  embedding(of: { readonly sequence: number } | { readonly index: number }): Float32Array {
    const { llama_get_embeddings_seq, llama_get_embeddings_ith, llama_model_n_embd } =
      this.model.llama.functions;
    const context = this.#alive();
    const pointer: Pointer =
      "sequence" in of
        ? llama_get_embeddings_seq(context, of.sequence)
        : llama_get_embeddings_ith(context, of.index);
    if (!pointer) {
      throw new StowageError("native_call_failed", {
        call: "llama_get_embeddings",
        reason: "there is none.",
      });
    }
    const width: number = llama_model_n_embd(this.model.pointer);
    return new Float32Array(koffi.view(pointer, 4 * width)).slice();
  }

  /**
   * Computes with these LoRA adapters from now on, in place of others.
   * @throws StowageError native_call_failed when libllama refuses one
   */
  useAdapters(adapters: readonly { readonly path: string; readonly scale: number }[]): void {
    const pointers = BigUint64Array.from(adapters, ({ path }) => this.model.loadAdapter(path));
    const scales = Float32Array.from(adapters, ({ scale }) => scale);
    const { functions } = this.model.llama;
    const count = BigInt(adapters.length);
    const status: number = functions.llama_set_adapters_lora(this.#alive(), pointers, count, scales);
    if (status === 0) return;
    throw new StowageError("native_call_failed", {
      call: "llama_set_adapters_lora",
      reason: `status ${status}.`,
    });
  }

  /** Forgets every sequence. */
  clear(): void {
    const { functions } = this.model.llama;
    functions.llama_memory_clear(functions.llama_get_memory(this.#alive()), false);
  }

  /**
   * Forgets the positions [from, to) of one sequence.
   * @returns false when the model's memory cannot forget a part (recurrent models)
   */
  remove(sequence: number, from: number, to: number): boolean {
    const { functions } = this.model.llama;
    return functions.llama_memory_seq_rm(functions.llama_get_memory(this.#alive()), sequence, from, to);
  }

  dispose(): void {
    if (!this.#pointer) return;
    const { functions, native } = this.model.llama;
    functions.llama_free(this.#pointer);
    native.cpu.ggml_threadpool_free(this.#threadpool);
    this.#pointer = 0n;
    this.#logits.clear();
    this.batch.dispose();
    this.model.disown(this);
  }

  #alive(): Pointer {
    if (!this.#pointer) throw new StowageError("native_disposed", { what: "A llama context" });
    return this.#pointer;
  }
}
