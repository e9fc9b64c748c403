import { escapeHtml } from "./html.ts";
import { type Plot, plotHtml, plotStyle } from "./plot.ts";
import type { Report } from "./report.ts";
import { checkHead, checkRow, machineLine, rowsOf } from "./report-table.ts";

const style = `:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}
figure{margin:2rem 0}figcaption{font-weight:600}svg{width:100%;max-width:48rem}
svg text{fill:currentColor;font-size:11px}svg line{stroke:#8886}
polyline{fill:none;stroke:currentColor;stroke-width:2}circle{fill:currentColor}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0}.legend li::before{content:"\\25CF  "}`;

/** The report as one HTML page, light or dark as the reader prefers, that loads nothing from anywhere. */
export function reportHtml(report: Report, plots: readonly Plot[], title = "Stowage report"): string {
  const settings = Object.entries(report.settings).map(([name, value]) => [name, String(value)]);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title><style>${style}${plotStyle}</style></head>
<body><h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(machineLine(report.machine))}</p>
${(report.notes ?? []).map((note) => `<p>${escapeHtml(note)}</p>`).join("\n")}
${plots.map(plotHtml).join("\n")}
${section("Checks", checkHead, report.checks.map(checkRow))}
${section("Results", rowsOf(report.results)[0] ?? [], rowsOf(report.results).slice(1))}
${section("Settings", ["setting", "value"], settings)}
</body></html>
`;
}

function section(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const row = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<h2>${title}</h2><table>${row("th", head)}\n${rows.map((cells) => row("td", cells)).join("\n")}</table>`;
}
