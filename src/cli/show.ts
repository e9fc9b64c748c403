/** `stowage show`: what a model file holds, without loading it. */
import type { Command } from "commander";
import { openGguf } from "../gguf/read.ts";
import { describeModel, type ModelDescription, type Share } from "../model/describe.ts";
import { formatBytes } from "../workload/format.ts";
import { table } from "../workload/report-table.ts";
import { printable } from "./printable.ts";

export function register(command: Command): void {
  command
    .argument("<model>", "a GGUF file, or the first of several")
    .option("--json", "print it as one JSON object")
    .action(async (path: string, { json }: { json?: boolean }) => {
      const model = describeModel(await openGguf(path));
      process.stdout.write(json ? `${JSON.stringify(model)}\n` : forPeople(model));
    });
}

function forPeople(model: ModelDescription): string {
  const { supported, experts, expertsUsed, tokenizer, shards } = model;
  const active = experts > 0 ? `, ${formatCount(model.activeParameters)} active a token` : "";
  const facts: [string, string | number | undefined][] = [
    ["name", model.name],
    ["architecture", `${model.architecture}${supported ? "" : " (not supported)"}`],
    ["parameters", `${formatCount(model.parameters)}${active}`],
    ["size", `${formatBytes(model.bytes)}${shards.length > 1 ? ` in ${shards.length} files` : ""}`],
    ["layers", model.layers],
    ["width", model.width],
    [
      "heads",
      model.kvHeads === undefined ? model.heads : `${model.heads}, ${model.kvHeads} of keys and values`,
    ],
    ["experts", experts > 0 ? `${experts} a layer, ${expertsUsed} a token` : "none"],
    ["context", model.context && `${model.context} tokens`],
    ["vocabulary", `${model.vocabulary} tokens${tokenizer === undefined ? "" : `, tokenizer ${tokenizer}`}`],
    ["chat template", model.chatTemplate ? "yes" : "no"],
    ["licence", model.licence],
  ];
  // Texts come out of a file that anybody may have made.
  const known = facts.flatMap(([label, value]) => (value === undefined ? [] : [[label, printable(value)]]));
  const parts = [table(known), shareTable("part", model.kinds), shareTable("type", model.types)];
  return `${parts.join("\n\n")}\n`;
}

function shareTable(head: string, shares: Readonly<Record<string, Share>>): string {
  const total = Object.values(shares).reduce((sum, { bytes }) => sum + bytes, 0);
  const rows = Object.entries(shares).map(([name, { tensors, parameters, bytes }]) => {
    const share = `${((100 * bytes) / total).toFixed(1)} %`;
    return [name, String(tensors), formatCount(parameters), formatBytes(bytes), share];
  });
  return table([[head, "tensors", "parameters", "size", "share"], ...rows]);
}

/** 41123456 → "41.1 M". */
function formatCount(count: number): string {
  const units = ["", " k", " M", " B", " T"];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? String(count) : `${value.toPrecision(3)}${units[unit]}`;
}
