/**
 * Traces of Azure's inference service (Splitwise, ISCA 2024, and its sequel of 2024): CSV with the columns TIMESTAMP, ContextTokens
 * and GeneratedTokens. Times are dates, with up to seven digits of a second.
 */
import { csvColumns, csvTokenCount, type TraceFormat, type TraceLine, traceError } from "./trace.ts";

export const azure: TraceFormat = {
  name: "azure",
  hasHeader: true,
  recognises: (firstLine) => /\bContextTokens\b/.test(firstLine) && /\bGeneratedTokens\b/.test(firstLine),
  parser(head) {
    const columns = csvColumns(head, ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]);
    return (line) => {
      const cells = columns(line);
      return {
        at: timeOf(line, cells.TIMESTAMP),
        inputTokens: csvTokenCount(line, "ContextTokens", cells.ContextTokens),
        outputTokens: csvTokenCount(line, "GeneratedTokens", cells.GeneratedTokens),
      };
    };
  },
};

/** Milliseconds since 1970, the fraction kept in full. */
function timeOf(line: TraceLine, text: string): number {
  const pattern = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/;
  const [, day, time, fraction = "", zone = "Z"] = pattern.exec(text) ?? [];
  const seconds = Date.parse(`${day}T${time}${zone}`);
  if (Number.isNaN(seconds))
    throw traceError(line, "TIMESTAMP", text, "a time such as 2023-11-16 18:17:03.97");
  return seconds + 1000 * Number(`0${fraction}`);
}
