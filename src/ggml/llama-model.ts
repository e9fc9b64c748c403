import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import { type Llama, loadLlama } from "./llama.ts";
import { modelParamsLayout, withFields } from "./llama-params.ts";
import { LlamaVocabulary } from "./llama-vocabulary.ts";

/** How the file is brought into memory. What is left out is as llama.cpp does it by itself. */
export interface LlamaModelOptions {
  /** Only the vocabulary is read, no weights. */
  readonly vocabOnly?: boolean;
  /** Whether the file is mapped; else it is read into memory. */
  readonly mmap?: boolean;
  /** Whether weights are copied into the layout of the fast kernels. */
  readonly repack?: boolean;
}

const loadModes = { read: 0, mmap: 1 } as const;

/** A model in libllama, on the CPU. One owner; freed by `dispose`, with the contexts that were made of it. */
export class LlamaModel {
  readonly llama: Llama;
  readonly vocabulary: LlamaVocabulary;
  readonly #contexts = new Set<{ dispose(): void }>();
  #pointer: Pointer;

  /**
   * Loads a GGUF file on a thread of libuv's pool; the event loop stays free.
   * The file must have passed the checks of `src/gguf`: libllama ends the process on some broken ones.
   * @throws StowageError native_call_failed when libllama refuses the file
   */
  static async load(path: string, options: LlamaModelOptions = {}): Promise<LlamaModel> {
    const llama = loadLlama();
    const { vocabOnly, mmap, repack } = options;
    const bytes = withFields(llama.modelDefaults, modelParamsLayout, {
      gpuLayers: 0,
      ...(vocabOnly !== undefined && { vocabOnly }),
      ...(mmap !== undefined && { loadMode: mmap ? loadModes.mmap : loadModes.read }),
      ...(repack !== undefined && { extraBuffers: repack }),
    });
    const pointer = await new Promise<Pointer>((resolve, reject) => {
      llama.functions.llama_model_load_from_file.async(path, { bytes }, (error: unknown, result: Pointer) =>
        error ? reject(error) : resolve(result),
      );
    });
    if (!pointer) {
      throw new StowageError("native_call_failed", {
        call: "llama_model_load_from_file",
        reason: `${path} could not be loaded.`,
      });
    }
    return new LlamaModel(llama, pointer);
  }

  constructor(llama: Llama, pointer: Pointer) {
    this.llama = llama;
    this.#pointer = pointer;
    this.vocabulary = new LlamaVocabulary(llama, () => llama.functions.llama_model_get_vocab(this.pointer));
  }

  /** The native address; for `src/ggml` only. */
  get pointer(): Pointer {
    if (!this.#pointer) throw new StowageError("native_disposed", { what: "A llama model" });
    return this.#pointer;
  }

  /** The chat template that the file carries; undefined when there is none. */
  get chatTemplate(): string | undefined {
    return this.llama.functions.llama_model_chat_template(this.pointer, null) ?? undefined;
  }

  /**
   * Loads a LoRA adapter for this model; freed with it. For `LlamaContext`.
   * @throws StowageError native_call_failed when libllama refuses the file
   */
  loadAdapter(path: string): Pointer {
    const adapter: Pointer = this.llama.functions.llama_adapter_lora_init(this.pointer, path);
    if (adapter) return adapter;
    throw new StowageError("native_call_failed", {
      call: "llama_adapter_lora_init",
      reason: `${path} could not be loaded.`,
    });
  }

  /** Frees `context` before the model, when nobody did so earlier; for `LlamaContext`. */
  own(context: { dispose(): void }): void {
    this.#contexts.add(context);
  }

  /** Forgets a context that has freed itself. */
  disown(context: { dispose(): void }): void {
    this.#contexts.delete(context);
  }

  dispose(): void {
    if (!this.#pointer) return;
    for (const context of [...this.#contexts]) context.dispose();
    this.llama.functions.llama_model_free(this.#pointer);
    this.#pointer = 0n;
  }
}
