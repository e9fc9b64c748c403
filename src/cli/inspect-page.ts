import { basename } from "node:path";
import { formatBytes } from "../workload/format.ts";
import type { Plot, Series } from "../workload/plot.ts";
import { check, type Report } from "../workload/report.ts";
import { reportHtml } from "../workload/report-html.ts";
import { type Inspection, kindNames, roomName } from "./inspect-model.ts";

const gibi = 2 ** 30;
/** A line that lies further above the curves than this would press them flat: the title says it instead. */
const roomInSight = 4;

/** The page: curves of the total, then the numbers. */
export function inspectionPage(found: Inspection): string {
  return reportHtml(reportOf(found), plotsOf(found), `Does ${basename(found.model.path)} fit?`);
}

function plotsOf(found: Inspection): Plot[] {
  const { byContext, byExpertMemory, sizes } = found;
  const counts = [...new Set(byContext.map(({ sequences }) => sequences))];
  const contexts = plot(found, {
    title: "Memory by context, every sequence with its full context",
    xLabel: "context, tokens",
    series: counts.map((count) => ({
      name: count === 1 ? "1 sequence" : `${count} sequences`,
      points: byContext
        .filter(({ sequences }) => sequences === count)
        .map(({ context, total }) => [context, total / gibi] as const),
    })),
  });
  if (byExpertMemory.length === 0) return [contexts];
  const points = [...byExpertMemory]
    .reverse()
    .map(({ share, total }) => [100 * share, total / gibi] as const);
  const experts = plot(found, {
    title: `Memory by what experts are given, ${sizes.contextTokens} tokens of context`,
    xLabel: "memory for experts, % of all experts",
    series: [{ name: `${sizes.maxSequences} sequences`, points }],
  });
  return [contexts, experts];
}

/** The curves, and the line that they have to stay below. */
function plot({ room }: Inspection, { title, xLabel, series }: Omit<Plot, "yLabel">): Plot {
  const all = series.flatMap(({ points }) => points);
  const highest = Math.max(...all.map(([, y]) => y));
  const line = room.bytes / gibi;
  const name = `${roomName(room.from)}: ${formatBytes(room.bytes)}`;
  if (line > roomInSight * highest) return { title: `${title} (${name})`, xLabel, yLabel: "GiB", series };
  const xs = all.map(([x]) => x);
  const ends = [Math.min(...xs), Math.max(...xs)].map((x) => [x, line] as const);
  const limit: Series = { name, points: ends };
  return { title, xLabel, yLabel: "GiB", series: [limit, ...series] };
}

function reportOf(found: Inspection): Report {
  const { machine, model, sizes, memory, total, room } = found;
  const mebi = (bytes: number) => Math.round((bytes / 2 ** 20) * 10) / 10;
  const kinds = Object.entries(kindNames).map(([kind, name]) => ({
    memory: name,
    MiB: mebi(memory[kind as keyof typeof kindNames]),
  }));
  const own =
    memory.process === undefined ? [] : [{ memory: "the process itself", MiB: mebi(memory.process) }];
  return {
    machine,
    settings: { model: model.path, ...sizes },
    results: [...kinds, ...own, { memory: "total", MiB: mebi(total) }],
    checks: [check("fits", mebi(total), "MiB", "<=", mebi(room.bytes))],
  };
}
