import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { pino } from "pino";
import { Gateway } from "../gateway/gateway.ts";
import type { ServedModel } from "../gateway/served-model.ts";
import { makeApp } from "./app.ts";
import { Guard } from "./guard.ts";
import type { RunningServer, ServerOptions } from "./options.ts";

/** Hooks that nobody needs but tests. */
export interface StartHooks {
  /** A program in the engine's place, to see what a faulty one does. */
  readonly engineScript?: string;
  /** Told of every change of a model's state. */
  readonly onModel?: (model: ServedModel, detail?: string) => void;
}

/**
 * Starts a server; it listens when this resolves, and loads its models meanwhile.
 * @throws the error of `listen` (EADDRINUSE, EACCES, EADDRNOTAVAIL); nothing is held then
 */
export async function startServer(options: ServerOptions, hooks: StartHooks = {}): Promise<RunningServer> {
  const logger = pino({ level: options.logLevel, base: null }, pino.destination({ dest: 2, sync: true }));
  const gateway = new Gateway(
    options,
    {
      changed: (model, detail) => {
        logger[detail && model.problem ? "warn" : "info"](
          { model: model.name, state: model.state },
          detail ?? model.state,
        );
        hooks.onModel?.(model, detail);
      },
    },
    hooks.engineScript,
  );
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeAll();
    return closing;
  };
  const context = {
    gateway,
    version: packageVersion(),
    startedAt: Date.now(),
    pid: process.pid,
    stop: () => void close(),
  };
  const app = makeApp(context, new Guard(options), logger);
  let ended = () => {};
  const closed = new Promise<void>((resolve) => {
    ended = resolve;
  });

  async function closeAll(): Promise<void> {
    const listening = app.close();
    await gateway.drain(options.drainTimeoutSeconds * 1000);
    await flushed(app.server);
    app.server.closeAllConnections();
    await listening;
    ended();
  }

  await app.listen({ host: options.host, port: options.port });
  const loaded = gateway.preload();
  const { port } = app.server.address() as AddressInfo;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return { url: `http://${host}:${port}`, port, loaded, closed, close };
}

/** Last words to clients may take a moment to leave. */
async function flushed(server: Server): Promise<void> {
  const deadline = Date.now() + 1000;
  const open = () =>
    new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count ?? 0)));
  while (Date.now() < deadline && (await open()) > 0) {
    server.closeIdleConnections();
    await setTimeout(20);
  }
}

/** package.json is two folders up, from the sources and from `dist` alike. */
function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
