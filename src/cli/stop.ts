/** `stowage stop`: ends a running server, or unloads one of its models. */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import type { Command } from "commander";
import { z } from "zod";
import { StowageError } from "../errors.ts";
import type { Status } from "../server/schemas/status.ts";
import { printable } from "./printable.ts";
import { addServerFlags, ServerClient } from "./server-client.ts";
import { StatusLine } from "./status-line.ts";

const unloaded = z.object({ model: z.string(), state: z.string() });
const stopped = z.object({ stopping: z.literal(true) });

/** How often it is asked whether the server is still there, ms. */
const pollMs = 100;

export function register(command: Command): void {
  command.argument("[model]", "unload this model; default: end the server");
  addServerFlags(command);
  command.action(async (model: string | undefined) => {
    const client = ServerClient.of(command);
    if (model === undefined) await stopServer(client);
    else {
      const { model: name } = await client.ask("/api/models/unload", unloaded, { model });
      process.stdout.write(`unloaded ${printable(name)}\n`);
    }
  });
}

/** Resolves when the server is gone; how long that takes is up to its drain timeout. */
async function stopServer(client: ServerClient): Promise<void> {
  const line = new StatusLine();
  const before = await client.status();
  const commandLine = commandLineOf(before.pid);
  await client.ask("/api/stop", stopped, {});
  try {
    for (;;) {
      const status = await statusOfSame(client, before);
      const isProcess = commandLine !== undefined && commandLineOf(before.pid) === commandLine;
      if (!status && !isProcess) break;
      const left = status ? `: ${status.requests.live.length} requests run` : "";
      line.say(`Stopping ${client.url}${left}`);
      await setTimeout(pollMs);
    }
  } finally {
    line.clear();
  }
  process.stdout.write(`stopped ${client.url}\n`);
}

/** What the server says; undefined when it does not listen any more, or when another has taken its place. */
async function statusOfSame(client: ServerClient, before: Status): Promise<Status | undefined> {
  try {
    const status = await client.status();
    return status.pid === before.pid && status.started_at === before.started_at ? status : undefined;
  } catch (error) {
    if (!(error instanceof StowageError) || error.code !== "server_unreachable") throw error;
    // Whoever is too busy to answer is still there.
    return (error.cause as Error).name === "TimeoutError" ? before : undefined;
  }
}

/**
 * The command line of a `stowage serve` on this machine: a server that does not listen any more may still work on
 * requests. Undefined where there is no such process, as when the server runs elsewhere or in a container.
 */
function commandLineOf(pid: number): string | undefined {
  try {
    const commandLine = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return commandLine.split("\0").includes("serve") ? commandLine : undefined;
  } catch {
    return undefined;
  }
}
