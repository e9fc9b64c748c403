/**
 * Mooncake's traces (FAST 2025): JSON lines with timestamp (ms), input_length, output_length and hash_ids, one id for each
 * 512 tokens of the input. An id stands for its block and all before it, so equal ids mean a shared beginning.
 */
import { type TraceFormat, type TraceLine, type TraceRequest, tokenCount, traceError } from "./trace.ts";

/** Tokens of one block. */
export const mooncakeBlockTokens = 512;

export const mooncake: TraceFormat = {
  name: "mooncake",
  hasHeader: false,
  recognises: (firstLine) => firstLine.startsWith("{") && firstLine.includes('"input_length"'),
  parser: () => parse,
};

function parse(line: TraceLine): TraceRequest {
  const { timestamp, input_length, output_length, hash_ids } = objectOf(line);
  if (typeof timestamp !== "number" || timestamp < 0)
    throw traceError(line, "timestamp", timestamp, "milliseconds, from 0 on");
  const inputTokens = tokenCount(line, "input_length", input_length);
  return {
    at: timestamp,
    inputTokens,
    outputTokens: tokenCount(line, "output_length", output_length),
    blocks: blocksOf(line, hash_ids, Math.ceil(inputTokens / mooncakeBlockTokens)),
  };
}

function objectOf(line: TraceLine): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line.text);
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw traceError(line, "the line", line.text, "a JSON object");
}

function blocksOf(line: TraceLine, value: unknown, count: number): number[] {
  const isId = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0;
  if (!Array.isArray(value) || !value.every(isId))
    throw traceError(line, "hash_ids", value, "a list of whole numbers from 0 on");
  if (value.length === count) return value;
  const expected = `${count}, one for each ${mooncakeBlockTokens} tokens of the input`;
  throw traceError(line, "the number of hash_ids", value.length, expected);
}
