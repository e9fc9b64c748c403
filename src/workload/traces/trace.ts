import { StowageError } from "../../errors.ts";

/** One request of a trace. */
export interface TraceRequest {
  /** When it came, ms from the trace's first request on. */
  readonly at: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Ids of the blocks that its input is made of, in order: prompts whose first ids are equal begin with the same tokens. */
  readonly blocks?: readonly number[];
}

/** One line of a file, for a parser and its errors. */
export interface TraceLine {
  readonly path: string;
  /** Counted from 1. */
  readonly number: number;
  readonly text: string;
}

/** A format of traces: one file beside this one. */
export interface TraceFormat {
  readonly name: string;
  /** Whether a file that begins with this line is of this format. */
  recognises(firstLine: string): boolean;
  /** Whether the first line names columns and is no request. */
  readonly hasHeader: boolean;
  /**
   * Makes the parser of one file's lines. Its times may start anywhere.
   *
   * @throws StowageError `trace_invalid` from here or from the parser.
   */
  parser(firstLine: TraceLine): (line: TraceLine) => TraceRequest;
}

/** A `trace_invalid` error that names the file, the line, the field and its value. */
export function traceError(line: TraceLine, field: string, value: unknown, expected: string): StowageError {
  const text = value === undefined ? "missing" : JSON.stringify(value);
  const shown = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return new StowageError("trace_invalid", {
    path: line.path,
    line: line.number,
    field,
    value: shown,
    expected,
  });
}

/** A number of tokens: a whole number from 0 on. */
export function tokenCount(line: TraceLine, field: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw traceError(line, field, value, "a whole number from 0 on");
}

/** Finds the columns of these names in the head of a CSV file; returns what cuts a line into their values. */
export function csvColumns<Name extends string>(
  head: TraceLine,
  names: readonly Name[],
): (line: TraceLine) => Record<Name, string> {
  const found = cellsOf(head);
  const places = names.map((name) => {
    const place = found.indexOf(name);
    if (place === -1) throw traceError(head, "the column", name, `among the columns ${found.join(", ")}`);
    return [name, place] as const;
  });
  return (line) => {
    const cells = cellsOf(line);
    if (cells.length !== found.length)
      throw traceError(line, "the number of columns", cells.length, `${found.length}, as in the head`);
    return Object.fromEntries(places.map(([name, place]) => [name, cells[place]])) as Record<Name, string>;
  };
}

/** A number of tokens as it stands in a CSV file. */
export function csvTokenCount(line: TraceLine, field: string, cell: string): number {
  // Files that went through a data frame with gaps have their whole numbers as 12.0.
  if (!/^\d+(\.0+)?$/.test(cell)) throw traceError(line, field, cell, "a whole number from 0 on");
  return tokenCount(line, field, Number(cell));
}

function cellsOf({ text }: TraceLine): string[] {
  return text.split(",").map((cell) => cell.trim());
}
