import { StowageError } from "../errors.ts";
import { mostRowsTogether } from "../experts/short-steps.ts";
import { cellStep } from "../kv/cache.ts";
import { kvBytes } from "../kv/tensors.ts";
import { defaultKvTypes, isQuantised, type KvTypes } from "../kv/types.ts";
import { attendedWidth, kvShape, leastTileRows, queryRows } from "../model/attention-shape.ts";
import { expertRegionBytes } from "../model/expert-regions.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import type { WeightLayout } from "../model/layout.ts";
import type { AdapterFile } from "../model/lora/adapter-file.ts";
import type { EngineLimits } from "./engine.ts";
import { mostDraftedRows } from "./speculation.ts";

const floatBytes = 4;
/** Bytes of an element of quantised activations: 34 bytes for 32 (Q8_0), rounded up for Q8_K. */
const activationBytes = 1.15;

/** What a model takes, by kind, bytes. */
export interface MemoryPlan {
  /** Weights used in place in the mapped file: the system can drop and read them again. */
  readonly mappedWeights: number;
  /** Weights copied into the layout of the fast kernels; until then they are used in the mapped file too. */
  readonly convertedWeights: number;
  /** Adapters, used in place in their mapped files. */
  readonly adapters: number;
  /** Slots for experts, where they do not all stay in memory; 0 otherwise. */
  readonly experts: number;
  readonly kv: number;
  /** Activations of the largest step, and what outlives its graphs. */
  readonly compute: number;
  /** ggml's work buffer: quantised activations. */
  readonly work: number;
  readonly total: number;
  /** What layers on a device take in its memory, beside the total; 0 where none are. */
  readonly device: number;
  /** Of that, the KV cache. */
  readonly deviceKv: number;
  /** Cells of the KV cache, one a token. */
  readonly kvCells: number;
}

/** The slots of experts that do not all stay in memory. */
export interface ExpertSlotPlan {
  readonly bytes: number;
  readonly slots: number;
}

/** What a model has beyond its weights. */
export interface PlannedExtras {
  readonly experts?: ExpertSlotPlan | undefined;
  readonly kvTypes?: KvTypes;
  readonly adapters?: readonly AdapterFile[];
}

/** Plans the memory of a model before any of it is taken. */
export function planMemory(
  layout: WeightLayout,
  limits: EngineLimits,
  kvCells: number,
  { experts = { bytes: 0, slots: 0 }, kvTypes = defaultKvTypes, adapters = [] }: PlannedExtras = {},
): MemoryPlan {
  const h = layout.hyperparameters;
  const cells = Math.ceil(kvCells / cellStep) * cellStep;
  const kv = kvShape(h, cells, kvTypes);
  const kinds = {
    mappedWeights: layout.mappedBytes,
    convertedWeights: layout.repackedBytes + layout.joinedBytes,
    adapters: adapters.reduce((sum, { bytes }) => sum + bytes, 0),
    experts: experts.bytes,
    kv: kvBytes({ ...kv, layers: Math.min(kv.layers, layout.firstDeviceLayer) }),
    compute: computeBytes(h, layout.vocabulary, limits, kvTypes) + deltaBytes(layout, limits, adapters),
    work: Math.ceil(limits.stepTokens * widest(h) * activationBytes) + rowTableBytes(h, experts.slots),
  };
  const total = Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0);
  const deviceKv = kvBytes({ ...kv, layers: Math.max(0, kv.layers - layout.firstDeviceLayer) });
  const device = deviceKv > 0 ? layout.deviceBytes + deviceKv + kinds.compute : 0;
  return { ...kinds, total, device, deviceKv, kvCells: cells };
}

/**
 * @param budget bytes
 * @throws StowageError memory_budget, saying by how much the plan exceeds it and what would fit
 */
export function checkBudget(plan: MemoryPlan, budget: number): void {
  if (plan.total <= budget) return;
  const cellBytes = plan.kv / plan.kvCells;
  const room = budget - (plan.total - plan.kv);
  const cells = Math.floor(room / cellBytes / cellStep) * cellStep;
  const fits =
    cells >= cellStep
      ? `A KV cache of ${cells} tokens would fit`
      : `Without any KV cache it needs ${mebibytes(plan.total - plan.kv)} MiB already`;
  throw new StowageError("memory_budget", {
    needed: mebibytes(plan.total),
    budget: mebibytes(budget),
    over: mebibytesUp(plan.total - budget),
    weights: mebibytes(plan.mappedWeights + plan.convertedWeights + plan.adapters + plan.experts),
    kv: mebibytes(plan.kv),
    compute: mebibytes(plan.compute + plan.work),
    fits,
  });
}

/** The most rows that activations of one token are quantised in at once. */
function widest(h: Hyperparameters): number {
  const networks = [h.feedForwardWidth, h.expertWidth * h.expertsUsed, h.sharedExpertWidth];
  return Math.max(h.width, h.heads * h.headWidth, ...networks);
}

/** `mul_mat_id` keeps a table of which rows go to which slot: 8 bytes for each slot and row that may go there. */
function rowTableBytes(h: Hyperparameters, slots: number): number {
  return slots * mostRowsTogether * h.experts * 8;
}

/**
 * Upper bound of a step's activations: attention and feed-forward network do not live at the same time, results of
 * experts do (see experts-apart.ts).
 */
function computeBytes(
  h: Hyperparameters,
  vocabulary: number,
  limits: EngineLimits,
  kvTypes: KvTypes,
): number {
  const { stepTokens: tokens } = limits;
  const keys = Math.ceil(limits.contextTokens / cellStep) * cellStep;
  const attention = 2 * h.width + attentionWidth(h);
  const dense = h.experts === 0 || h.denseLayers > 0 ? 3 * h.width + 3 * h.feedForwardWidth : 0;
  const shared = h.sharedExpertWidth > 0 ? 4 * h.width + 3 * h.sharedExpertWidth : 0;
  const experts = h.experts > 0 ? 4 * h.width + 3 * h.expertWidth : 0;
  const network = Math.max(dense, shared, experts);
  const activations = tokens * Math.max(attention, network) * floatBytes;
  // Queries of short prefills are filled up to a tile.
  const filledUp =
    Math.min(limits.maxSequences, Math.ceil(tokens / leastTileRows)) * queryRows(leastTileRows);
  const padded = filledUp * h.heads * attendedWidth(h.headWidth, 1) * floatBytes;
  const masks = Math.max(tokens, filledUp) * keys * 2 * (h.window ? 2 : 1);
  const attended = tokens * h.heads * h.valueWidth * floatBytes;
  if (h.encoder) return activations + attended;
  // The cells of one sequence and layer at a time, see Blocks.
  const cellWidth = h.kvHeads * (h.headWidth + h.valueWidth);
  const dequantised = isQuantised(kvTypes) ? keys * cellWidth * floatBytes : 0;
  const logits = Math.max(limits.maxSequences, mostDraftedRows) * vocabulary * floatBytes;
  const apart = h.experts > 0 ? expertRegionBytes(h, tokens) : 0;
  return activations + masks + padded + attended + dequantised + logits + apart;
}

/** Elements of a token that live at once in attention. */
function attentionWidth({ heads, kvHeads, headWidth, latent }: Hyperparameters): number {
  if (!latent) return 3 * (heads + 2 * kvHeads) * headWidth;
  const { rank, plainWidth, rotatedWidth, valueWidth, absorbed } = latent;
  // Queries as they are projected and as attention takes them, and, for each head, what stands between or what keys and values take.
  const both = plainWidth + rotatedWidth + headWidth;
  const between = absorbed ? rank : plainWidth + headWidth + 2 * valueWidth;
  return heads * (both + between) + 2 * (rank + rotatedWidth);
}

/** What adapters add to a product at a time, before it is added: as wide as the widest product, for every token. */
function deltaBytes(
  { hyperparameters: h, vocabulary }: WeightLayout,
  { stepTokens, maxSequences }: EngineLimits,
  adapters: readonly AdapterFile[],
): number {
  const ranks = adapters.flatMap(({ pairs }) => pairs.map(({ rank }) => rank));
  if (ranks.length === 0) return 0;
  const rows = Math.max(h.width, h.heads * h.headWidth, h.feedForwardWidth);
  return 2 * floatBytes * (stepTokens * (rows + Math.max(...ranks)) + maxSequences * vocabulary);
}

/** Rounded up: a budget that is raised by so much suffices. */
function mebibytesUp(bytes: number): string {
  return (Math.ceil((bytes / 2 ** 20) * 10) / 10).toFixed(1);
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
