/**
 * BurstGPT (arXiv 2401.17644): CSV whose columns Timestamp (seconds), Request tokens and Response tokens are read. A response of
 * 0 tokens is a request that failed.
 */
import { csvColumns, csvTokenCount, type TraceFormat, type TraceLine, traceError } from "./trace.ts";

export const burstGpt: TraceFormat = {
  name: "burstgpt",
  hasHeader: true,
  recognises: (firstLine) => /\bRequest tokens\b/.test(firstLine) && /\bResponse tokens\b/.test(firstLine),
  parser(head) {
    const columns = csvColumns(head, ["Timestamp", "Request tokens", "Response tokens"]);
    return (line) => {
      const cells = columns(line);
      return {
        at: 1000 * secondsOf(line, cells.Timestamp),
        inputTokens: csvTokenCount(line, "Request tokens", cells["Request tokens"]),
        outputTokens: csvTokenCount(line, "Response tokens", cells["Response tokens"]),
      };
    };
  },
};

function secondsOf(line: TraceLine, cell: string): number {
  if (!/^\d+(\.\d+)?$/.test(cell)) throw traceError(line, "Timestamp", cell, "seconds, from 0 on");
  return Number(cell);
}
