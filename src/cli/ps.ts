/** `stowage ps`: the models of a running server. */
import type { Command } from "commander";
import { addServerFlags, ServerClient } from "./server-client.ts";
import { statusTable } from "./status-table.ts";

export function register(command: Command): void {
  addServerFlags(command);
  command
    .option("--json", "print the server's whole status as one JSON object")
    .action(async ({ json }: { json?: true }) => {
      const status = await ServerClient.of(command).status();
      process.stdout.write(json ? `${JSON.stringify(status)}\n` : statusTable(status));
    });
}
