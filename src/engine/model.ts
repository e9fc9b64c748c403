import { StowageError } from "../errors.ts";
import type { Served } from "../experts/lossy/lossy-experts.ts";
import type { LayerCounts } from "../experts/metrics.ts";
import type { AdapterChoice } from "../model/lora/adapters.ts";
import type { Pooling } from "../model/pooling.ts";
import { ChatPrompt, checkMessages } from "../tokenizer/chat-prompt.ts";
import type { ChatMessage } from "../tokenizer/chat-template.ts";
import {
  type Embedding,
  type EmbeddingSequence,
  type EmbedOptions,
  poolingFor,
  shapeVector,
  textTokens,
} from "./embedding.ts";
import type { TextForm } from "./grammars.ts";
import { type LoadedModel, type LoadOptions, loadEngine } from "./load.ts";
import type { MemoryPlan } from "./memory-plan.ts";
import type { TokenLogprob } from "./sampling/logprobs.ts";
import type { SamplingParams } from "./sampling/params.ts";
import type { FinishReason, SequenceEvent } from "./sequence.ts";
import type { SpeculationTotals } from "./speculation.ts";

/** What to generate from, and how: a prompt or messages, limits, and sampling parameters. */
export interface GenerateOptions extends SamplingParams {
  /** Text to go on from as it is, or its tokens. Either this or `messages`. */
  readonly prompt?: string | ArrayLike<number>;
  /** A chat, put into the words of the model's chat template. */
  readonly messages?: readonly ChatMessage[];
  /** Most tokens to generate. Default: what is left of the context. */
  readonly maxTokens?: number;
  /** The adapters to compute with, of those that the model was loaded with. Default: none. */
  readonly lora?: readonly AdapterChoice[];
  /** What the text has to be, in GBNF; see docs/structured-output.md. At most one of this and `jsonSchema`. */
  readonly grammar?: string;
  /** A JSON schema that the text has to be valid by; `true` for any JSON. */
  readonly jsonSchema?: object | boolean;
  /** Aborting it ends the generation within one step; its last part then has the reason `cancelled`. */
  readonly signal?: AbortSignal;
}

/** One generated token. */
export interface TokenPart {
  readonly type: "token";
  readonly token: number;
  /** Text that is complete by now: empty while a character, or what may be a stop string, is not. */
  readonly text: string;
  /** Natural logarithm of the token's probability, when `logprobs` asked for it. */
  readonly logprob?: number;
  /** The most likely tokens, when `logprobs` asked for them. */
  readonly top?: readonly TokenLogprob[];
}

/** The last part of every generation. */
export interface FinishPart {
  readonly type: "finish";
  /** `stop`: the model ended or a stop string came; `length`: a limit; `cancelled`: aborted or disposed. */
  readonly reason: FinishReason;
  /** Text that was held back and turned out to be none of a stop string. */
  readonly text: string;
  readonly usage: {
    readonly promptTokens: number;
    /** Of the prompt's tokens, those whose keys and values were still there from an earlier generation. */
    readonly cachedTokens: number;
    readonly completionTokens: number;
  };
}

export type GenerationPart = TokenPart | FinishPart;

/** A text, or its tokens. */
export type EmbedInput = string | ArrayLike<number>;

/** What {@link Model.embed} gives. */
export interface Embeddings {
  /** One a text, in their order, each of length 1. */
  readonly embeddings: readonly Float32Array[];
  readonly usage: {
    readonly promptTokens: number;
    /** Of those, the ones whose keys and values were still there from an earlier text. */
    readonly cachedTokens: number;
  };
}

/** What a loaded model is. */
export interface ModelInfo {
  /** The value of `general.architecture`, such as `qwen3moe`. */
  readonly architecture: string;
  readonly layers: number;
  /** Elements of a token's activations. */
  readonly width: number;
  /** Experts of each layer; 0 for a dense model. */
  readonly experts: number;
  /** Experts that each token is sent to. */
  readonly expertsUsed: number;
  /** Tokens of the vocabulary. */
  readonly vocabulary: number;
  /** Longest sequence, prompt and output together, tokens. */
  readonly contextTokens: number;
  /** Longest sequence that the model was trained on, tokens. */
  readonly contextTrained: number;
  readonly hasChatTemplate: boolean;
  /** What it takes, by kind, bytes. */
  readonly memory: MemoryPlan;
}

/** How experts under a budget fare. */
export interface ExpertReport {
  readonly total: LayerCounts;
  /** By layer. */
  readonly layers: readonly LayerCounts[];
  /** The policies that decide, and what they have to say; for people. */
  readonly policy: { readonly name: string; readonly says: string | undefined };
  /** The lossy mode, where one is on. */
  readonly lossy: LossyReport | undefined;
}

/** What a lossy mode did. */
export interface LossyReport {
  readonly mode: string;
  /** With which settings; for people. */
  readonly says: string;
  /** How often experts of decode steps were run in full precision, in low, and not at all. */
  readonly served: Served;
  /** How the low-precision copies fared. Both precisions are waited for at the same time: stalls overlap. */
  readonly low: LayerCounts;
}

/**
 * Loads a model file in GGUF format. Nothing is held when it throws.
 * @throws StowageError native_*, gguf_*, model_*, template_*, load_option, memory_budget; the signal's reason when
 *   it is aborted
 */
export async function loadModel(path: string, options: LoadOptions = {}): Promise<Model> {
  const loaded = await loadEngine(path, options);
  try {
    return new Model(loaded, await ChatPrompt.of(loaded.tokenizer));
  } catch (error) {
    await loaded.dispose();
    throw error;
  }
}

/** A model in memory. Generations run side by side and share each step. Give it back with `dispose`. */
export class Model {
  readonly info: ModelInfo;
  readonly #loaded: LoadedModel;
  readonly #chat: ChatPrompt | undefined;
  #disposed: Promise<void> | undefined;

  /** Use {@link loadModel}. */
  constructor(loaded: LoadedModel, chat: ChatPrompt | undefined) {
    const { layers, width, experts, expertsUsed, architecture, contextTrained } = loaded.hyperparameters;
    this.#loaded = loaded;
    this.#chat = chat;
    this.info = {
      architecture,
      layers,
      width,
      experts,
      expertsUsed,
      vocabulary: loaded.tokenizer.vocabularySize,
      contextTokens: loaded.engine.limits.contextTokens,
      contextTrained,
      hasChatTemplate: chat !== undefined,
      memory: loaded.plan,
    };
  }

  /**
   * When all weights are in the layout of the fast kernels, or the model was disposed: it answers before, slower,
   * and kernels round a little differently then.
   */
  get settled(): Promise<void> {
    return this.#loaded.engine.settled;
  }

  /** What came of a budget for experts, since the model was loaded; undefined where all experts stay in memory. */
  get experts(): ExpertReport | undefined {
    const { experts, lossy } = this.#open();
    if (!experts) return undefined;
    const { metrics, policy } = experts;
    return {
      total: metrics.total,
      layers: metrics.layers.map((counts) => ({ ...counts })),
      policy: { name: policy.name, says: policy.says },
      lossy: lossy && {
        mode: lossy.mode.name,
        says: lossy.mode.says,
        served: { ...lossy.served },
        low: lossy.low.metrics.total,
      },
    };
  }

  /** What drafts came to since the model was loaded: steps that had some, tokens drafted, and those that were right. */
  get speculation(): SpeculationTotals {
    return this.#open().engine.speculation;
  }

  /**
   * Generates text, one part a token and a finish part at the end; the texts of all parts make the output. Leaving the
   * loop early cancels the generation.
   * @throws StowageError while it is read: native_disposed, generate_input, chat_template_missing, chat_messages,
   *   template_*, text_too_long, request_*, token_invalid, sampling_param, lora_*, kv_exhausted, engine_closed,
   *   logits_*, grammar_*, schema_*
   */
  async *generate(options: GenerateOptions): AsyncGenerator<GenerationPart, void, undefined> {
    const { prompt, messages, maxTokens, lora = [], signal, grammar, jsonSchema, ...sampling } = options;
    this.#open().engine.checkGenerates();
    const tokens = await this.#promptTokens(prompt, messages);
    const limit = maxTokens === undefined ? {} : { maxTokens };
    const { engine, grammars } = this.#open();
    const form = formOf(grammar, jsonSchema);
    const held = form && { constraint: grammars.constraint(form) };
    const sequence = engine.submit({ prompt: tokens, sampling, lora, ...limit, ...held });
    const cancel = () => sequence.cancel();
    signal?.addEventListener("abort", cancel);
    if (signal?.aborted) cancel();
    try {
      for await (const event of sequence) yield partOf(event);
    } finally {
      signal?.removeEventListener("abort", cancel);
      cancel();
    }
  }

  /**
   * Makes a vector of each text: such that texts of like meaning have like vectors, if the model was trained for that.
   * They share steps with each other and with generations.
   * @throws StowageError native_disposed, text_too_long, request_empty, embedding_*, token_invalid, request_cancelled,
   *   kv_exhausted, engine_closed
   */
  async embed(
    texts: readonly EmbedInput[],
    options: EmbedOptions & { readonly signal?: AbortSignal } = {},
  ): Promise<Embeddings> {
    const { pooling, dimensions, signal } = options;
    const results = await this.#states(texts, poolingFor(pooling, this.#open().pooling), signal);
    const sum = (count: (result: Embedding) => number) => results.reduce((all, one) => all + count(one), 0);
    return {
      embeddings: results.map(({ vectors }) => shapeVector(vectors[0]!, dimensions)),
      usage: {
        promptTokens: sum(({ promptTokens }) => promptTokens),
        cachedTokens: sum(({ cachedTokens }) => cachedTokens),
      },
    };
  }

  /**
   * The final states of all tokens of a text, one vector a token, as the model gives them: not pooled, not of length 1.
   * @throws as {@link Model.embed}
   */
  async embedTokens(
    text: EmbedInput,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<readonly Float32Array[]> {
    const [result] = await this.#states([text], "none", options.signal);
    return result!.vectors;
  }

  /**
   * The tokens of a text as a prompt: with the tokens that open it, where the model has some. What looks like a control
   * token becomes one.
   * @throws StowageError native_disposed, text_too_long
   */
  tokenize(text: string): Int32Array {
    return this.#open().tokenizer.encode(text, { addSpecial: true, parseSpecial: true });
  }

  /**
   * The tokens of a chat, up to where the answer begins. What looks like a control token in a message stays text.
   * @throws StowageError native_disposed, chat_template_missing, chat_messages, template_*, text_too_long
   */
  async tokenizeChat(messages: readonly ChatMessage[]): Promise<number[]> {
    this.#open();
    checkMessages(messages);
    if (!this.#chat) throw new StowageError("chat_template_missing", {});
    return this.#chat.encode(messages);
  }

  /**
   * The text of tokens, without control tokens.
   * @throws StowageError native_disposed, token_invalid
   */
  detokenize(tokens: Iterable<number>): string {
    return this.#open().tokenizer.decode(tokens);
  }

  /** Ends every generation and gives the memory back. Later calls wait for the first. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#loaded.dispose();
    return this.#disposed;
  }

  async #states(texts: readonly EmbedInput[], pooling: Pooling, signal?: AbortSignal): Promise<Embedding[]> {
    const { engine, tokenizer } = this.#open();
    const sequences: EmbeddingSequence[] = [];
    const cancel = () => {
      for (const sequence of sequences) sequence.cancel();
    };
    signal?.addEventListener("abort", cancel);
    try {
      for (const text of texts) {
        const tokens = typeof text === "string" ? textTokens(tokenizer, text) : text;
        sequences.push(engine.embed({ tokens, pooling }));
      }
      if (signal?.aborted) cancel();
      return await Promise.all(sequences.map(({ result }) => result));
    } finally {
      signal?.removeEventListener("abort", cancel);
      cancel();
    }
  }

  #open(): LoadedModel {
    if (this.#disposed) throw new StowageError("native_disposed", { what: "The model" });
    return this.#loaded;
  }

  async #promptTokens(
    prompt: GenerateOptions["prompt"],
    messages: GenerateOptions["messages"],
  ): Promise<ArrayLike<number>> {
    if ((prompt === undefined) === (messages === undefined)) {
      throw new StowageError("generate_input", { given: prompt === undefined ? "neither" : "both" });
    }
    if (messages !== undefined) return this.tokenizeChat(messages);
    return typeof prompt === "string" ? this.tokenize(prompt) : prompt!;
  }
}

/** @throws StowageError generate_form */
function formOf(gbnf: string | undefined, schema: object | boolean | undefined): TextForm | undefined {
  if (gbnf !== undefined && schema !== undefined) throw new StowageError("generate_form", {});
  if (gbnf !== undefined) return { gbnf };
  return schema === undefined ? undefined : { schema: JSON.stringify(schema) };
}

function partOf(event: SequenceEvent): GenerationPart {
  if (event.type === "token") return event;
  const { type, reason, text, promptTokens, cachedTokens, generatedTokens } = event;
  return { type, reason, text, usage: { promptTokens, cachedTokens, completionTokens: generatedTokens } };
}
