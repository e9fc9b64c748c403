import { createReadStream } from "node:fs";
import { StowageError } from "../../errors.ts";
import { azure } from "./azure.ts";
import { burstGpt } from "./burst-gpt.ts";
import { mooncake } from "./mooncake.ts";
import type { TraceFormat, TraceLine, TraceRequest } from "./trace.ts";

/** Every format that is known. A new one is a file beside this one, and a place here. */
export const traceFormats: readonly TraceFormat[] = [azure, burstGpt, mooncake];

/** What was read of a trace. */
export interface Trace {
  readonly format: string;
  /** In the order of their times; the first is at 0. */
  readonly requests: readonly TraceRequest[];
  /** Requests that were left out since they had no tokens in or out: they had failed. */
  readonly dropped: number;
}

export interface ReadOptions {
  /** Name of the format; default: recognised from the first line. */
  readonly format?: string;
  /** Reads the first so many requests alone. Default: all. */
  readonly limit?: number;
}

/**
 * Reads a trace.
 *
 * @throws StowageError `trace_unreadable` when there is no such file, `trace_unknown` when the format is not known, `trace_invalid`
 *   with file, line, field and value when a line is not as it has to be, `trace_empty` when it has no request.
 */
export async function readTrace(path: string, { format, limit }: ReadOptions = {}): Promise<Trace> {
  const requests: TraceRequest[] = [];
  let dropped = 0;
  let chosen: TraceFormat | undefined;
  let parse: ((line: TraceLine) => TraceRequest) | undefined;
  for await (const line of linesOf(path)) {
    if (requests.length === limit) break;
    const isFirst = parse === undefined;
    chosen ??= formatOf(line, format);
    parse ??= chosen.parser(line);
    if (isFirst && chosen.hasHeader) continue;
    const request = parse(line);
    if (request.inputTokens === 0 || request.outputTokens === 0) dropped += 1;
    else requests.push(request);
  }
  if (!chosen || requests.length === 0) throw new StowageError("trace_empty", { path, dropped });
  return { format: chosen.name, requests: inOrder(requests), dropped };
}

/** The lines of a file that have text; only as much of it is read as is asked for. */
async function* linesOf(path: string): AsyncGenerator<TraceLine> {
  let number = 0;
  let partial = "";
  for await (const chunk of chunksOf(path)) {
    const texts = `${partial}${chunk}`.split("\n");
    partial = texts.pop()!;
    for (const text of texts) {
      number += 1;
      if (text.trim() !== "") yield { path, number, text: text.trim() };
    }
  }
  if (partial.trim() !== "") yield { path, number: number + 1, text: partial.trim() };
}

async function* chunksOf(path: string): AsyncGenerator<string> {
  try {
    for await (const chunk of createReadStream(path, "utf8")) yield chunk as string;
  } catch (cause) {
    throw new StowageError("trace_unreadable", { path, reason: (cause as Error).message }, { cause });
  }
}

function formatOf(line: TraceLine, name: string | undefined): TraceFormat {
  const known = traceFormats.map((format) => format.name).join(", ");
  const found = traceFormats.find((format) => {
    return name === undefined ? format.recognises(line.text) : format.name === name;
  });
  if (found) return found;
  throw new StowageError("trace_unknown", { path: line.path, line: line.text.slice(0, 80), known });
}

function inOrder(requests: readonly TraceRequest[]): TraceRequest[] {
  const sorted = [...requests].sort((a, b) => a.at - b.at);
  const start = sorted[0]!.at;
  return sorted.map((request) => ({ ...request, at: request.at - start }));
}
