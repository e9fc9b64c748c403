/**
 * What a gateway and an engine process say to each other: one JSON object a line, checked on arrival by the side that
 * reads it. The same messages serve an engine on another machine.
 */
import { z } from "zod";
import { policyNames, prefetchNames } from "../../experts/policies/policies.ts";
import { kvTypeNames } from "../../kv/types.ts";
import { poolings } from "../../model/pooling.ts";

/** Raised when a message changes in a way that the other side has to know of. */
export const protocolVersion = 1;

const count = z.int().min(0);
const milliseconds = z.number().min(0);
const requestId = z.int().min(1);
const tokens = z.array(z.int());
const toolCall = z.object({
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.unknown() }),
});
const messages = z.array(
  z.object({
    role: z.string(),
    content: z.string(),
    tool_calls: z.array(toolCall).exactOptional(),
    tool_call_id: z.string().exactOptional(),
    name: z.string().exactOptional(),
  }),
);

/** What text is made of, or tokenised from: text, its tokens, or a chat. */
const input = z.union([
  z.object({ text: z.string() }),
  z.object({ tokens }),
  z.object({ messages, tools: z.array(z.unknown()).exactOptional() }),
]);

/** What the text has to be, as `TextForm`, and the request's field that says so. */
const form = z.union([
  z.object({ field: z.string(), gbnf: z.string() }),
  z.object({ field: z.string(), schema: z.string() }),
  z.object({ field: z.string(), object: z.literal(true) }),
  z.object({
    field: z.string(),
    tools: z.array(z.object({ name: z.string(), parameters: z.string() })),
    choice: z.enum(["auto", "required"]),
    parallel: z.boolean(),
  }),
]);

/** The same fields as `SamplingParams`, whose ranges the engine checks. */
const sampling = z.object({
  temperature: z.number().exactOptional(),
  topK: z.number().exactOptional(),
  topP: z.number().exactOptional(),
  minP: z.number().exactOptional(),
  typicalP: z.number().exactOptional(),
  topNSigma: z.number().exactOptional(),
  xtcProbability: z.number().exactOptional(),
  xtcThreshold: z.number().exactOptional(),
  dryMultiplier: z.number().exactOptional(),
  dryBase: z.number().exactOptional(),
  dryAllowedLength: z.number().exactOptional(),
  dryPenaltyLastN: z.number().exactOptional(),
  drySequenceBreakers: z.array(z.string()).exactOptional(),
  mirostat: z.number().exactOptional(),
  mirostatTau: z.number().exactOptional(),
  mirostatEta: z.number().exactOptional(),
  logitBias: z.record(z.string(), z.number()).exactOptional(),
  repeatPenalty: z.number().exactOptional(),
  frequencyPenalty: z.number().exactOptional(),
  presencePenalty: z.number().exactOptional(),
  penaltyLastN: z.number().exactOptional(),
  seed: z.number().exactOptional(),
  logprobs: z.number().exactOptional(),
  stop: z.array(z.string()).exactOptional(),
});

/** An error of the catalogue, by its code and details. */
const fault = z.object({
  code: z.string(),
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});

const memory = z.object({
  mappedWeights: count,
  convertedWeights: count,
  adapters: count,
  experts: count,
  kv: count,
  compute: count,
  work: count,
  total: count,
  device: count,
  deviceKv: count,
  kvCells: count,
});

const adapter = z.object({ name: z.string(), scale: z.number().exactOptional() });

export const toEngine = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("load"),
    path: z.string(),
    settings: z.object({
      contextTokens: z.number().exactOptional(),
      maxSequences: z.number().exactOptional(),
      kvTokens: z.number().exactOptional(),
      cacheTypeK: z.enum(kvTypeNames).exactOptional(),
      cacheTypeV: z.enum(kvTypeNames).exactOptional(),
      stepTokens: z.number().exactOptional(),
      threads: z.number().exactOptional(),
      speculate: z.union([z.enum(["auto", "off"]), z.number()]).exactOptional(),
      device: z.string().exactOptional(),
      deviceLayers: z.number().exactOptional(),
      expertMemory: z.union([z.number(), z.string()]).exactOptional(),
      expertPolicy: z.enum(policyNames).exactOptional(),
      expertPrefetch: z.enum(prefetchNames).exactOptional(),
      regroupExperts: z.number().exactOptional(),
      prepare: z.enum(["auto", "never"]).exactOptional(),
      /** A path; where there is a file, a number is appended. */
      recordRouting: z.string().exactOptional(),
      pooling: z.enum(poolings).exactOptional(),
      lora: z
        .array(adapter.extend({ path: z.string() }))
        .readonly()
        .exactOptional(),
    }),
  }),
  /** The memory that was planned may be taken. */
  z.object({ type: z.literal("admit") }),
  z.object({
    type: z.literal("generate"),
    id: requestId,
    input,
    maxTokens: z.number().exactOptional(),
    ignoreEnd: z.boolean().exactOptional(),
    lora: z.array(adapter).readonly().exactOptional(),
    sampling,
    form: form.exactOptional(),
  }),
  /** Answered by `embedding`, or `failed`. */
  z.object({ type: z.literal("embed"), id: requestId, input, dimensions: z.number().exactOptional() }),
  z.object({ type: z.literal("cancel"), id: requestId }),
  z.object({ type: z.literal("pause"), id: requestId }),
  z.object({ type: z.literal("resume"), id: requestId }),
  z.object({ type: z.literal("tokenize"), id: requestId, input, addSpecial: z.boolean() }),
  z.object({ type: z.literal("detokenize"), id: requestId, tokens }),
  /** Answered by `residency`, or `failed` where no experts are under a budget. */
  z.object({ type: z.literal("residency"), id: requestId }),
  /** How many of its compute threads it may use now: engines that work at one time share the processors. */
  z.object({ type: z.literal("threads"), count: z.int().min(1) }),
  /** Ends everything and gives the memory back; the process then ends. */
  z.object({ type: z.literal("stop") }),
]);

const tokenLogprob = z.object({ token: z.int(), bytes: z.array(count), logprob: z.number().nullable() });

const sequenceEvent = z.discriminatedUnion("type", [
  /** It left the queue. */
  z.object({ type: z.literal("started"), id: requestId, cachedTokens: count }),
  z.object({
    type: z.literal("token"),
    id: requestId,
    text: z.string(),
    /** Of the token itself, where log-probabilities were asked for. */
    chosen: tokenLogprob.exactOptional(),
    top: z.array(tokenLogprob).exactOptional(),
  }),
  z.object({
    type: z.literal("finished"),
    id: requestId,
    reason: z.enum(["stop", "length", "cancelled"]),
    text: z.string(),
    promptTokens: count,
    cachedTokens: count,
    generatedTokens: count,
  }),
  z.object({ type: z.literal("failed"), id: requestId, fault }),
]);

/** The same fields as `LayerCounts`. */
const layerCounts = z.object({
  hits: count,
  misses: count,
  late: count,
  demandBytes: count,
  prefetchBytes: count,
  stallMs: milliseconds,
  prefetchesUseful: count,
  prefetchesWasted: count,
});

/** The same fields as `Residency`. */
const residency = z.object({
  slots: count,
  bytes: count,
  policy: z.object({
    eviction: z.string(),
    prefetch: z.string(),
    acting: z.object({ eviction: z.string(), prefetch: z.string() }),
    says: z.string().optional(),
  }),
  layers: z
    .array(z.object({ layer: count, states: z.string(), heat: z.string(), counts: layerCounts }))
    .readonly(),
  outcomes: z
    .array(layerCounts.extend({ eviction: z.string(), prefetch: z.string(), steps: count }))
    .readonly(),
});

const stats = z.object({
  running: count,
  waiting: count,
  paused: count,
  kvCells: count,
  kvCellsFree: count,
  /** What the process really holds, bytes. */
  residentBytes: count,
  /** What drafts came to. */
  speculation: z.object({ steps: count, drafted: count, accepted: count }),
  /** The trace of the routing, where that is recorded. */
  recording: z
    .object({ path: z.string(), tokens: count, bytes: count, failure: z.string().nullable() })
    .nullable(),
  experts: z
    .object({
      ...layerCounts.shape,
      /** What evicts, and what reads ahead; `none` for nothing. */
      eviction: z.string(),
      prefetch: z.string(),
    })
    .nullable(),
});

export const fromEngine = z.discriminatedUnion("type", [
  z.object({ type: z.literal("hello"), protocol: z.int(), pid: z.int() }),
  /** What the model will take; the engine waits for `admit` before it takes any of it. */
  z.object({ type: z.literal("planned"), memory }),
  z.object({ type: z.literal("preparing"), done: count, total: count }),
  z.object({
    type: z.literal("ready"),
    architecture: z.string(),
    contextTokens: count,
    maxSequences: count,
    vocabulary: count,
    experts: count,
    expertsUsed: count,
    hasChatTemplate: z.boolean(),
    memory,
  }),
  z.object({ type: z.literal("load_failed"), fault }),
  /** The request is in the queue. */
  z.object({
    type: z.literal("accepted"),
    id: requestId,
    promptTokens: count,
    /** How it will write calls, where it has tools: the name of a `ToolFormat`. */
    toolFormat: z.string().exactOptional(),
  }),
  z.object({ type: z.literal("events"), events: z.array(sequenceEvent) }),
  z.object({
    type: z.literal("embedding"),
    id: requestId,
    /** F32, little endian, in base64. */
    vector: z.base64(),
    promptTokens: count,
    cachedTokens: count,
  }),
  z.object({ type: z.literal("tokens"), id: requestId, tokens }),
  z.object({ type: z.literal("text"), id: requestId, text: z.string() }),
  z.object({ type: z.literal("residency"), id: requestId, residency }),
  z.object({ type: z.literal("stats"), ...stats.shape }),
]);

export type ToEngine = z.infer<typeof toEngine>;
export type FromEngine = z.infer<typeof fromEngine>;
export type ModelInput = z.infer<typeof input>;
export type SequenceNews = z.infer<typeof sequenceEvent>;
export type WireLogprob = z.infer<typeof tokenLogprob>;
export type EngineStats = z.infer<typeof stats>;
export type ResidencyMessage = Extract<FromEngine, { type: "residency" }>;
export type ReadyMessage = Extract<FromEngine, { type: "ready" }>;
export type WireForm = z.infer<typeof form>;
export type WireSampling = z.infer<typeof sampling>;
export type Fault = z.infer<typeof fault>;
