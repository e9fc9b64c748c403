/** `stowage serve`: offers models over HTTP until it is told to stop. */
import type { Command } from "commander";
import type { StowageError } from "../errors.ts";
import type { RunningServer, ServerOptions } from "../server/options.ts";
import { type Configuration, configure } from "./config/configuration.ts";
import { addSettingFlags } from "./config/flags.ts";
import { givenTo } from "./config/layers.ts";
import { configurationJson, configurationTable } from "./config/printed.ts";
import { isLoopback, localUrl, serverOptions } from "./config/server-options.ts";
import { formatError } from "./failure.ts";
import { meaningOfListenError } from "./listen-errors.ts";
import { printable } from "./printable.ts";
import { greeting } from "./serve-greeting.ts";
import { StatusLine } from "./status-line.ts";
import { StopSignals } from "./stop-signals.ts";

interface Flags {
  readonly printConfig?: true;
  readonly json?: true;
}

/** A model as the server knows it: it changes. */
interface ModelNow {
  readonly name: string;
  readonly state: string;
  readonly problem: StowageError | undefined;
}

/** Adds the arguments, the flags and the action. */
export function register(command: Command): void {
  command.argument("[models...]", "GGUF files, NAME=FILE, or folders whose .gguf files are all offered");
  addSettingFlags(command);
  command
    .option("--print-config", "print every setting and where it comes from, and end")
    .option("--json", "with --print-config: print it as one JSON object")
    .action(async (models: string[], { printConfig, json }: Flags) => {
      const surroundings = { cwd: process.cwd(), env: process.env };
      const configuration = configure({ models, ...givenTo(command), ...surroundings });
      if (printConfig) print(configuration, json === true);
      else await serve(serverOptions(configuration));
    });
}

function print(configuration: Configuration, json: boolean): void {
  process.stdout.write(
    json ? `${JSON.stringify(configurationJson(configuration))}\n` : configurationTable(configuration),
  );
}

async function serve(options: ServerOptions): Promise<void> {
  const line = new StatusLine();
  const touched = new Map<string, ModelNow>();
  let server: RunningServer | undefined;
  let stopping = false;
  let isUp = false;
  const signals = new StopSignals(() => {
    stopping = true;
    line.say(`Stopping: requests may end within ${options.drainTimeoutSeconds} s; again to end at once`);
    void server?.close();
  });
  try {
    const { startServer } = await import("../server/start.ts");
    const onModel = (model: ModelNow) => {
      touched.set(model.name, model);
      if (!stopping && !isUp && model.state === "loading") line.say(`Loading ${printable(model.name)}`);
    };
    server = await startServer(options, { onModel }).catch(async (error) => {
      throw await meaningOfListenError(error, options.host, options.port);
    });
    // A signal may have come while there was nothing to close.
    if (stopping) void server.close();
    await Promise.race([server.loaded, server.closed]);
    isUp = true;
    if (!stopping) {
      line.clear();
      // The server goes on: a model may load when it is asked for, as when there is memory again.
      for (const { problem } of touched.values()) if (problem) process.stderr.write(formatError(problem));
      process.stdout.write(greetingOf(options, server.port, touched));
    }
    await server.closed;
  } finally {
    line.clear();
    signals.dispose();
  }
}

function greetingOf(
  { host, apiKeys, models }: ServerOptions,
  port: number,
  touched: ReadonlyMap<string, ModelNow>,
): string {
  return greeting({
    url: localUrl(host, port),
    isOpen: !isLoopback(host),
    needsKey: apiKeys.length > 0,
    models: models.map(({ name, recordRouting }) => ({
      name,
      state: stateOf(touched.get(name)),
      recordRouting,
    })),
  });
}

function stateOf(model: ModelNow | undefined): string {
  if (model?.problem) return "not loaded";
  return model === undefined || model.state === "unloaded" ? "on demand" : model.state;
}
