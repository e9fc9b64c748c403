import { z } from "zod";
import { count } from "./common.ts";

/** What experts were asked for, and what came of it, since the engine started. */
const expertCounts = z.object({
  /** Experts that were there when they were wanted. */
  hits: count,
  /** Experts that had to be read then. */
  misses: count,
  /** Experts whose read ahead was under way then. */
  late: count,
  /** Experts that were read ahead, and there when they were wanted. */
  prefetch_useful: count,
  /** Experts that were read ahead, and not wanted when their layer came. */
  prefetch_wasted: count,
  demand_bytes: count,
  prefetch_bytes: count,
  /** Time that computing waited for reads, ms. */
  stall_ms: z.number().min(0),
});

/** `GET /api/models/{model}/experts`: which experts are in memory, and what the policies came to. */
export const expertsSchema = z.object({
  model: z.string(),
  /** Unix ms. */
  now: z.number(),
  /** Memory of the slots for experts, and how many there are. */
  bytes: count,
  slots: count,
  policy: z.object({
    /** What decides which expert leaves, and what is read ahead; `none` for nothing. */
    eviction: z.string(),
    prefetch: z.string(),
    /** Those that decide now, where one chooses among others. */
    acting: z.object({ eviction: z.string(), prefetch: z.string() }),
    /** What a policy that chooses among others has come to, in words. */
    says: z.string().nullable(),
  }),
  /** How many experts are in each state now. */
  states: z.object({ absent: count, reading: count, present: count, ahead: count, in_use: count }),
  totals: expertCounts,
  /** Those that have experts. */
  layers: z.array(
    expertCounts.extend({
      /** Its number in the model. */
      layer: count,
      /** A letter an expert: `.` absent, `r` being read, `p` present, `a` read ahead and not used yet, `u` in use. */
      states: z.string().regex(/^[.rpau]*$/),
      /** A digit an expert: d for one that about (d / 9)² of the latest decode steps used. */
      heat: z.string().regex(/^[0-9]*$/),
    }),
  ),
  /** What decode steps came to while these policies decided: one that chooses among others has a row for each choice. */
  by_policy: z.array(expertCounts.extend({ eviction: z.string(), prefetch: z.string(), steps: count })),
});

export type Experts = z.infer<typeof expertsSchema>;
export type ExpertCounts = z.infer<typeof expertCounts>;
