import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { StowageError } from "../errors.ts";
import type { Status } from "../server/schemas/status.ts";
import { ServerClient } from "./server-client.ts";

/** Filling the buffers of many readers takes a while where the system gives each some 4 MB. */
const patienceMs = 9 * 60_000;

/** A server in a process of its own, started by the command that users start, for benchmarks. */
export class ServerSide {
  readonly url: string;
  readonly #child: ChildProcess;

  /**
   * Starts `stowage serve` on a free port and waits until its models are loaded.
   * @throws StowageError side_failed
   */
  static async start(args: readonly string[]): Promise<ServerSide> {
    const main = fileURLToPath(
      new URL(`main.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url),
    );
    const flags = ["serve", ...args, "--host", "127.0.0.1", "--port", "0"];
    const child = spawn(process.execPath, [...process.execArgv, main, ...flags], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "exit").then(([code]) => {
      throw new StowageError("side_failed", { task: "serve", reason: `it ended with ${code}` });
    });
    ended.catch(() => {});
    const server = new ServerSide(await Promise.race([addressOf(child), ended]), child);
    while ((await fetch(`${server.url}/health`)).status !== 200) await setTimeout(50);
    return server;
  }

  private constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#child = child;
  }

  /**
   * Waits until the server is as wanted.
   * @throws StowageError side_failed when that takes too long
   */
  async until(wanted: (status: Status) => boolean): Promise<Status> {
    const client = new ServerClient(this.url, undefined);
    for (const started = Date.now(); Date.now() - started < patienceMs; await setTimeout(50)) {
      const status = await client.status();
      if (wanted(status)) return status;
    }
    const reason = `the server did not come to the state that is measured within ${patienceMs / 60_000} minutes`;
    throw new StowageError("side_failed", { task: "serve", reason });
  }

  async stop(): Promise<void> {
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await exit;
  }
}

/** The first address that it prints. */
async function addressOf(child: ChildProcess): Promise<string> {
  for await (const line of createInterface(child.stdout!)) {
    const [url] = /http:\/\/[\w.:[\]]+/.exec(line) ?? [];
    if (url) {
      child.stdout!.resume();
      return url;
    }
  }
  throw new StowageError("side_failed", { task: "serve", reason: "it printed no address" });
}
