/** `stowage doctor`: whether this machine is ready, and what to do where it is not. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { table } from "../workload/report-table.ts";
import { wholeNumber } from "./arguments.ts";
import { serverSettings } from "./config/settings.ts";
import type { Finding } from "./doctor/finding.ts";
import { checkFolder } from "./doctor/folder.ts";
import { checkMachine, thisSystem } from "./doctor/machine.ts";
import { checkEngines, checkPort } from "./doctor/neighbours.ts";
import { checkLibraries, checkNode } from "./doctor/software.ts";

interface Flags {
  readonly models?: string;
  readonly port: number;
  readonly json?: true;
}

export function register(command: Command): void {
  command
    .option("--models <folder>", "where models are (default: models, or this folder)")
    .addOption(
      command
        .createOption("--port <n>", "where a server is to listen")
        .argParser(wholeNumber(0))
        .default(serverSettings.port.fallback),
    )
    .option("--json", "print what was found as one JSON object")
    .action(doctor);
}

async function doctor({ models, port, json }: Flags): Promise<void> {
  const folder = models ?? (existsSync("models") ? "models" : ".");
  const libraries = await checkLibraries();
  // What measures a disk takes its memory from native code.
  const measures = libraries.every(({ verdict }) => verdict !== "fail");
  const findings: Finding[] = [
    checkNode(),
    ...libraries,
    ...checkMachine(thisSystem()),
    ...(await checkFolder(resolve(folder), measures)),
    checkEngines(),
    await checkPort(port),
  ];
  const ready = !findings.some(({ verdict }) => verdict === "fail");
  if (!ready) process.exitCode = 1;
  process.stdout.write(json ? `${JSON.stringify({ ready, findings })}\n` : asText(findings, ready));
}

function asText(findings: readonly Finding[], ready: boolean): string {
  const rows = findings.map(({ verdict, check, found }) => [verdict, check, found]);
  const advice = findings.filter(({ next }) => next !== undefined);
  const lines = advice.map(({ verdict, check, next }) => `${verdict} ${check}: ${next}`);
  const verdict = ready ? "This machine is ready." : "Something has to be mended first.";
  return `${[table([["verdict", "check", "found"], ...rows]), ...(lines.length > 0 ? [lines.join("\n")] : []), verdict].join("\n\n")}\n`;
}
