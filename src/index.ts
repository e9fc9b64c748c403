/** The library: what a program gets that imports `stowage`. */
export type { EmbedOptions } from "./engine/embedding.ts";
export type { LoadOptions } from "./engine/load.ts";
export type { MemoryPlan } from "./engine/memory-plan.ts";
export {
  type Embeddings,
  type EmbedInput,
  type ExpertReport,
  type FinishPart,
  type GenerateOptions,
  type GenerationPart,
  loadModel,
  type Model,
  type ModelInfo,
  type TokenPart,
} from "./engine/model.ts";
export type { TokenLogprob } from "./engine/sampling/logprobs.ts";
export type { SamplingParams } from "./engine/sampling/params.ts";
export type { FinishReason } from "./engine/sequence.ts";
export { type ErrorCode, type ErrorDetails, errorCatalogue, StowageError } from "./errors.ts";
export type { LayerCounts } from "./experts/metrics.ts";
export type { AdapterChoice, AdapterOption } from "./model/lora/adapters.ts";
export type { Pooling } from "./model/pooling.ts";
export type { ChatMessage } from "./tokenizer/chat-template.ts";
