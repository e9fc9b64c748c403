import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { StowageError } from "../errors.ts";
import type { Plot } from "../workload/plot.ts";
import { exitCodeOfReport, type Report, reportJson } from "../workload/report.ts";
import { reportHtml } from "../workload/report-html.ts";
import { reportTable } from "../workload/report-table.ts";
import { formatError } from "./failure.ts";

/** What a benchmark hands back: its report, and the curves that its page shows. */
export interface Measured {
  readonly report: Report;
  readonly plots: readonly Plot[];
}

/**
 * Gives a `bench` or `lab` command its action: measure, then print the table, or with `--json` the report as one object;
 * `--html FILE` writes the page. The exit code is 0 when every check is ok, 1 when one falls short, 2 when the
 * command could not measure.
 *
 * @param measure - Receives the arguments of the command, then its flags.
 */
export function reportAction(command: Command, measure: (...args: never[]) => Promise<Measured>): void {
  command
    .option("--json", "print the report as one JSON object")
    .option("--html <file>", "write the report as an HTML page")
    .action(async (...args: unknown[]) => {
      const { json, html } = command.opts<{ json?: boolean; html?: string }>();
      try {
        const { report, plots } = await measure(...(args as never[]));
        process.stdout.write(json ? reportJson(report) : reportTable(report));
        if (html !== undefined) await writePage(html, reportHtml(report, plots));
        process.exitCode = exitCodeOfReport(report);
      } catch (error) {
        process.stderr.write(formatError(error));
        process.exitCode = 2;
      }
    });
}

async function writePage(path: string, page: string): Promise<void> {
  try {
    await writeFile(path, page);
  } catch (cause) {
    throw new StowageError("report_not_written", { path, reason: (cause as Error).message }, { cause });
  }
}

/** What is being done, for people who watch. */
export function note(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${text}\n`);
}
