/** `stowage devices`: what can compute beside the processor, for `--device`. */
import type { Command } from "commander";
import { findDevices } from "../ggml/devices.ts";
import { formatBytes } from "../workload/format.ts";
import { table } from "../workload/report-table.ts";

export function register(command: Command): void {
  command.option("--json", "print them as one JSON array").action(({ json }: { json?: boolean }) => {
    const devices = findDevices();
    if (json) process.stdout.write(`${JSON.stringify(devices)}\n`);
    else if (devices.length === 0) process.stdout.write("No device beside the processor.\n");
    else {
      const rows = devices.map(({ name, description, kind, memoryFree, memoryTotal }, index) => [
        String(index),
        name,
        kind,
        memoryTotal > 0 ? `${formatBytes(memoryFree)} of ${formatBytes(memoryTotal)}` : "not told",
        description,
      ]);
      process.stdout.write(`${table([["number", "name", "kind", "memory free", "description"], ...rows])}\n`);
    }
  });
}
