/** `stowage inspect`: whether a model fits into memory, and how long a context, how many sequences and experts would. */
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import type { Command } from "commander";
import { StowageError } from "../errors.ts";
import { formatBytes } from "../workload/format.ts";
import { table } from "../workload/report-table.ts";
import { parseNumber } from "./arguments.ts";
import { type Inspection, inspectModel, kindNames, roomName } from "./inspect-model.ts";
import { inspectionPage } from "./inspect-page.ts";
import { addLoadFlags, type LoadFlags, loadOptionsOf } from "./load-flags.ts";

interface Flags extends LoadFlags {
  readonly maxSequences?: number;
  readonly kvTokens?: number;
  readonly stepTokens?: number;
  readonly json?: true;
  readonly html?: string;
}

/** Adds the arguments, the flags and the action. */
export function register(command: Command): void {
  command.argument("<model>", "model file in GGUF format");
  addLoadFlags(command, "longest prompt and answer together (default: the model's, at most 4096)")
    .option("--max-sequences <n>", "sequences that run side by side (default: 8)", parseNumber)
    .option(
      "--kv-tokens <n>",
      "tokens that the KV cache holds for all sequences together (default: two contexts)",
      parseNumber,
    )
    .option(
      "--step-tokens <n>",
      "most tokens of one step, prefill and decode together (default: 512)",
      parseNumber,
    )
    .option("--json", "print it as one JSON object")
    .option("--html <file>", "write it as an HTML page with curves")
    .action(inspect);
}

/** Exits with 1 when the model does not fit. */
async function inspect(path: string, flags: Flags): Promise<void> {
  const { maxSequences, kvTokens, stepTokens } = flags;
  const found = await inspectModel(path, {
    ...loadOptionsOf(flags),
    ...(maxSequences === undefined ? {} : { maxSequences }),
    ...(kvTokens === undefined ? {} : { kvTokens }),
    ...(stepTokens === undefined ? {} : { stepTokens }),
  });
  process.stdout.write(flags.json ? `${JSON.stringify(found, null, 2)}\n` : forPeople(found));
  if (flags.html !== undefined) await writePage(flags.html, inspectionPage(found));
  if (!found.fits) process.exitCode = 1;
}

async function writePage(path: string, page: string): Promise<void> {
  try {
    await writeFile(path, page);
  } catch (cause) {
    throw new StowageError("report_not_written", { path, reason: (cause as Error).message }, { cause });
  }
}

function forPeople(found: Inspection): string {
  const { model, sizes } = found;
  const experts = model.experts > 0 ? `, ${model.experts} experts a layer, ${model.expertsUsed} at work` : "";
  const parts = [
    `${basename(model.path)}: ${model.architecture}, ${model.layers} layers${experts}\n` +
      `context of ${sizes.contextTokens} tokens, ${sizes.maxSequences} sequences, at most ${sizes.stepTokens} tokens a step`,
    kinds(found),
    contexts(found),
    ...(found.byExpertMemory.length > 0 ? [budgets(found)] : []),
    [...legend(found), ...advice(found)].join("\n"),
  ];
  return `${parts.join("\n\n")}\n`;
}

function kinds({ memory, total, room }: Inspection): string {
  const rows = Object.entries(kindNames).flatMap(([kind, name]) => {
    const bytes = memory[kind as keyof typeof kindNames];
    const cells = kind === "kv" ? `, ${memory.kvCells} tokens` : "";
    return bytes > 0 ? [[`${name}${cells}`, formatBytes(bytes)]] : [];
  });
  if (memory.process !== undefined) rows.push(["the process itself", formatBytes(memory.process)]);
  rows.push(["total", formatBytes(total)]);
  rows.push([roomName(room.from), formatBytes(room.bytes)]);
  if (memory.device > 0) rows.push(["in the memory of the device, beside that", formatBytes(memory.device)]);
  return table([["memory", "size"], ...rows]);
}

/** Totals by context, one column for each number of sequences. */
function contexts({ byContext, room }: Inspection): string {
  const counts = [...new Set(byContext.map(({ sequences }) => sequences))];
  const lengths = [...new Set(byContext.map(({ context }) => context))];
  const cell = (context: number, sequences: number) => {
    const found = byContext.find((entry) => entry.context === context && entry.sequences === sequences);
    return found ? marked(found.total, room.bytes) : "";
  };
  const head = [
    "total at a full context each",
    ...counts.map((n) => `${n} ${n === 1 ? "sequence" : "sequences"}`),
  ];
  const rows = lengths.map((context) => [`${context} tokens`, ...counts.map((n) => cell(context, n))]);
  return table([head, ...rows]);
}

function budgets({ byExpertMemory, room }: Inspection): string {
  const rows = byExpertMemory.map(({ share, bytes, total }) => [
    `${Math.round(100 * share)}%`,
    formatBytes(bytes),
    marked(total, room.bytes),
  ]);
  return table([["--expert-memory", "slots", "total"], ...rows]);
}

/** A total; with a mark where it does not fit. */
function marked(total: number, room: number): string {
  return `${formatBytes(total)}${total > room ? " *" : ""}`;
}

function legend({ byContext, byExpertMemory, room }: Inspection): string[] {
  const tooMuch = [...byContext, ...byExpertMemory].some(({ total }) => total > room.bytes);
  return tooMuch ? ["* does not fit"] : [];
}

function advice({ fits, total, room, sizes, advice }: Inspection): string[] {
  const first = fits
    ? `It fits: ${formatBytes(total)} of ${formatBytes(room.bytes)}.`
    : `It does not fit: ${formatBytes(total - room.bytes)} too much.`;
  const { longestContext, mostSequences, mostExpertMemory, experts } = advice;
  const lines = [first];
  if (longestContext === 0) lines.push(`No context fits with ${sizes.maxSequences} sequences.`);
  else
    lines.push(
      `Longest context with ${sizes.maxSequences} sequences, each full: --context ${longestContext}`,
    );
  if (mostSequences > 0) {
    lines.push(
      `Most sequences of ${sizes.contextTokens} tokens, each full: --max-sequences ${mostSequences}`,
    );
  }
  if (experts === "all fit") lines.push("All experts fit: no --expert-memory is needed.");
  if (experts === "some fit")
    lines.push(`Most memory for experts: --expert-memory ${mebi(mostExpertMemory!)}MiB`);
  if (experts === "none fit") lines.push("Not even the experts of one token fit beside the rest.");
  return lines;
}

/** Rounded down: what is told has to fit. */
function mebi(bytes: number): string {
  return (Math.floor((bytes / 2 ** 20) * 100) / 100).toFixed(2);
}
