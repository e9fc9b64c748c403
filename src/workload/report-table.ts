import { formatBytes, formatNumber } from "./format.ts";
import type { Machine } from "./machine.ts";
import type { Cell, Check, Report } from "./report.ts";

/** The report as text for people: machine, settings, a table of results, a line for each check. */
export function reportTable({ machine, settings, results, checks, notes = [] }: Report): string {
  const pairs = Object.entries(settings).map(([name, value]) => `${name} ${formatCell(value)}`);
  const parts = [
    `Machine   ${machineLine(machine)}\nSettings  ${pairs.join(", ") || "none"}`,
    ...(results.length > 0 ? [table(rowsOf(results))] : []),
    ...(checks.length > 0 ? [table([checkHead, ...checks.map(checkRow)])] : []),
    ...(notes.length > 0 ? [notes.join("\n")] : []),
  ];
  return `${parts.join("\n\n")}\n`;
}

/** The machine in one line. */
export function machineLine({ cpu, cores, memoryBytes, os, node, ggml }: Machine): string {
  const versions = `Node ${node}${ggml === null ? "" : `, ggml ${ggml}`}`;
  return `${cpu}, ${cores} cores, ${formatBytes(memoryBytes)}, ${os}, ${versions}`;
}

/** The results as rows of text, headed by the names of all columns. */
export function rowsOf(results: Report["results"]): string[][] {
  const names = [...new Set(results.flatMap((row) => Object.keys(row)))];
  return [names, ...results.map((row) => names.map((name) => formatCell(row[name] ?? null)))];
}

/** What the cells of a check's row are. */
export const checkHead: readonly string[] = ["verdict", "check", "measured", "goal"];

/** One check as the cells of a row. */
export function checkRow({ name, value, unit, goal, ok }: Check): string[] {
  const verdict = ok ? "ok" : value === null ? "NOT MEASURED" : "FALLS SHORT";
  return [verdict, name, `${formatCell(value)} ${value === null ? "" : unit}`.trim(), goal];
}

function formatCell(value: Cell): string {
  if (value === null) return "-";
  return typeof value === "number" ? formatNumber(value) : String(value);
}

/** Rows in aligned columns; a column of numbers is aligned to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = (rows[0] ?? []).map((_, index) => rows.map((row) => row[index] ?? ""));
  const widths = columns.map((cells) => Math.max(...cells.map((cell) => cell.length)));
  const numeric = columns.map((cells) => cells.slice(1).every((cell) => /^(-|[-\d.e+]+)$/.test(cell)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (numeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}
