import { z } from "zod";
import { StowageError } from "../../errors.ts";
import type { RoutingLog } from "./routing-log.ts";

/** A line of public loggers: the choice of one token in one layer. */
const line = z.object({
  token_idx: z.int().min(0).max(0xffff_ffff),
  layer: z.int().min(0).max(65_535),
  topk_ids: z.array(z.int().min(0).max(65_534)).min(1).max(1024),
});

interface Row {
  readonly layer: number;
  readonly ids: readonly number[];
}

/** The rows of one token, and which request and place it has. */
interface Token {
  readonly request: number;
  readonly position: number;
  readonly rows: Row[];
}

/**
 * Reads JSON lines `{"token_idx", "layer", "topk_ids", "topk_weights"}`, as loggers of routing write them. A `token_idx`
 * that is not above the one before begins a new request. Layers that have experts are numbered anew from 0; how many
 * experts there are is told by the largest id. The loggers tell no prompts: every token counts as decoded.
 * @throws StowageError routing_trace_invalid
 */
export function readRoutingJsonl(path: string, file: Buffer): RoutingLog {
  const tokens: Token[] = [];
  let request = 0;
  file
    .toString()
    .split("\n")
    .forEach((text, index) => {
      if (text.trim() === "") return;
      const { token_idx, layer, topk_ids } = parseLine(path, text, index + 1);
      const last = tokens.at(-1);
      if (new Set(topk_ids).size < topk_ids.length)
        throw invalid(path, index + 1, "topk_ids repeats an expert");
      if (last && last.position === token_idx && !last.rows.some((row) => row.layer === layer)) {
        last.rows.push({ layer, ids: topk_ids });
        return;
      }
      if (last && token_idx <= last.position) request++;
      tokens.push({ request, position: token_idx, rows: [{ layer, ids: topk_ids }] });
    });
  return logOf(path, tokens);
}

function parseLine(path: string, text: string, number: number): z.infer<typeof line> {
  try {
    return line.parse(JSON.parse(text));
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
    throw invalid(path, number, reason.replaceAll("\n", " "));
  }
}

function logOf(path: string, tokens: readonly Token[]): RoutingLog {
  const [first] = tokens;
  if (!first) throw invalid(path, 1, "it holds no token");
  const numbers = first.rows.map(({ layer }) => layer).sort((a, b) => a - b);
  const used = first.rows[0]!.ids.length;
  const layers = numbers.length;
  const count = tokens.length;
  const chosen = new Uint16Array(count * layers * used);
  let experts = 0;
  tokens.forEach(({ rows, position }, token) => {
    const sorted = rows.toSorted((a, b) => a.layer - b.layer);
    const same =
      sorted.length === layers &&
      sorted.every(({ layer, ids }, index) => layer === numbers[index] && ids.length === used);
    if (!same)
      throw invalid(
        path,
        `token ${position}`,
        `it needs ${used} experts in layers ${numbers.join(", ")}, as the first token has`,
      );
    sorted.forEach(({ ids }, layer) => {
      chosen.set(ids, (token * layers + layer) * used);
      experts = Math.max(experts, ...ids.map((id) => id + 1));
    });
  });
  return {
    model: path,
    layers,
    experts,
    used,
    count,
    request: Uint32Array.from(tokens, ({ request }) => request),
    position: Uint32Array.from(tokens, ({ position }) => position),
    token: new Int32Array(count).fill(-1),
    step: Uint32Array.from(tokens, (_, index) => index),
    decoded: new Uint8Array(count).fill(1),
    chosen,
    guessed: undefined,
    early: undefined,
    scores: undefined,
  };
}

function invalid(path: string, where: string | number, limit: string): StowageError {
  const value = typeof where === "number" ? `line ${where}` : where;
  return new StowageError("routing_trace_invalid", { path, field: "routing", value, limit });
}
