import { z } from "zod";

const count = z.int().min(0);
const bytes = z.int().min(0);

/** Percentiles of the latest requests, ms; null before there was one. */
const percentiles = z
  .object({ p50: z.number().min(0), p90: z.number().min(0), p99: z.number().min(0), count })
  .nullable();

const problem = z.object({ code: z.string(), message: z.string(), next: z.string() });

/** How the experts of a model under a budget fare, since its engine started. */
const experts = z.object({
  hits: count,
  misses: count,
  /** Read ahead, and still under way when wanted. */
  late: count,
  read_bytes: bytes,
  /** Time that computing waited for reads, ms. */
  stall_ms: z.number().min(0),
  prefetch_useful: count,
  prefetch_wasted: count,
});

/** What a model's process takes, by kind, bytes. */
const memory = z.object({
  weights: bytes,
  experts: bytes,
  kv: bytes,
  compute: bytes,
  total: bytes,
  /** What its process really holds now. */
  resident: bytes,
});

const model = z.object({
  name: z.string(),
  path: z.string(),
  /** `unloaded`: loads at the next request; `restarting`: its engine ended and will be started again. */
  state: z.enum(["unloaded", "loading", "ready", "restarting", "failed"]),
  /** Why it failed or is restarted. */
  problem: problem.nullable(),
  restarts: count,
  pid: z.int().nullable(),
  architecture: z.string().nullable(),
  context_tokens: count.nullable(),
  /** Sequences that may run side by side. */
  max_sequences: count.nullable(),
  running: count,
  waiting: count,
  /** Sequences whose readers are too slow; they hold no place. */
  paused: count,
  memory: memory.nullable(),
  kv_cells: count,
  kv_cells_used: count,
  prompt_tokens_total: count,
  cached_tokens_total: count,
  generated_tokens_total: count,
  experts: experts.nullable(),
  /** The trace of its routing, where that is recorded; it tells what users wrote. */
  recording: z
    .object({
      path: z.string(),
      /** Tokens that were recorded, and bytes that were written of them so far. */
      tokens: count,
      bytes,
      /** Why nothing is recorded any more. */
      failure: z.string().nullable(),
    })
    .nullable(),
  /** When it is unloaded unless it is used before, Unix ms; null: not by time. */
  expires_at: z.number().nullable(),
  last_used: z.number().nullable(),
});

const request = z.object({
  id: z.string(),
  model: z.string(),
  endpoint: z.string(),
  stream: z.boolean(),
  phase: z.enum(["loading", "queued", "prefill", "decode", "stalled"]),
  /** Unix ms. */
  started_at: z.number(),
  prompt_tokens: count.nullable(),
  generated_tokens: count,
});

/** `GET /api/status`: what the dashboard and `stowage ps` show. Totals only grow; rates are their differences. */
export const statusSchema = z.object({
  version: z.string(),
  pid: z.int(),
  state: z.enum(["ready", "loading", "degraded", "draining"]),
  /** Unix ms. */
  started_at: z.number(),
  now: z.number(),
  memory: z.object({ budget: bytes, planned: bytes, gateway_resident: bytes }),
  models: z.array(model),
  requests: z.object({
    live: z.array(request),
    total: count,
    completed: count,
    failed: count,
    cancelled: count,
    refused: count,
  }),
  latency: z.object({
    time_to_first_token_ms: percentiles,
    inter_token_ms: percentiles,
    end_to_end_ms: percentiles,
  }),
});

export type Status = z.infer<typeof statusSchema>;
