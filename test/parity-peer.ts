import { LlamaContext } from "../src/ggml/llama-context.ts";
import { LlamaModel } from "../src/ggml/llama-model.ts";
import { defaultKvTypes, type KvTypes } from "../src/kv/types.ts";

/** One sequence after another through a model. */
export interface Scorer {
  /** Forgets the sequence before. */
  begin(): void;
  /** Appends tokens, all in one step. @returns the logits after the last */
  next(tokens: readonly number[]): Promise<Float32Array>;
  dispose(): void;
}

export interface PeerOptions {
  readonly kvTypes?: KvTypes;
  readonly lora?: readonly { readonly path: string; readonly scale: number }[];
}

/**
 * libllama on the CPU with one sequence alone: weights repacked (its default), flash attention on, one thread.
 */
export class PeerModel implements Scorer {
  readonly model: LlamaModel;
  readonly #context: LlamaContext;
  #position = 0;

  static async load(path: string, contextTokens: number, options: PeerOptions = {}): Promise<PeerModel> {
    // libllama turns quantised keys and values by a Hadamard matrix first; not doing so is what can be compared.
    process.env.LLAMA_ATTN_ROT_DISABLE = "1";
    return new PeerModel(await LlamaModel.load(path), contextTokens, options);
  }

  private constructor(model: LlamaModel, contextTokens: number, options: PeerOptions) {
    const { kvTypes = defaultKvTypes, lora = [] } = options;
    this.model = model;
    this.#context = new LlamaContext(model, { contextTokens, threads: 1, flashAttention: true, kvTypes });
    if (lora.length > 0) this.#context.useAdapters(lora);
  }

  begin(): void {
    this.#context.clear();
    this.#position = 0;
  }

  async next(tokens: readonly number[]): Promise<Float32Array> {
    const [logits] = this.#context.decode(
      tokens.map((token, index) => ({
        token,
        position: this.#position + index,
        sequence: 0,
        wantLogits: index === tokens.length - 1,
      })),
    );
    this.#position += tokens.length;
    return logits!;
  }

  dispose(): void {
    this.model.dispose();
  }
}
