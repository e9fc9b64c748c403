/** From a configuration to what the server is started with. */
import { BlockList, isIP } from "node:net";
import { resolve } from "node:path";
import { StowageError } from "../../errors.ts";
import type { ModelSettings } from "../../gateway/options.ts";
import type { ServerOptions } from "../../server/options.ts";
import { pathInFile } from "./config-file.ts";
import type { Configuration, ModelConfiguration } from "./configuration.ts";

/** @throws StowageError models_none, host_open */
export function serverOptions(configuration: Configuration): ServerOptions {
  const { server, models, apiKeys, file } = configuration;
  if (models.length === 0) {
    throw new StowageError("models_none", {
      file: file === undefined ? "there is no stowage.toml" : `${file} has no table [models.NAME]`,
    });
  }
  const host = bare(server.host.value);
  if (!isLoopback(host) && apiKeys.length === 0) throw new StowageError("host_open", { host });
  return {
    host,
    port: server.port.value,
    apiKeys,
    memoryBytes: server.memory.value,
    maxQueue: server.maxQueue.value,
    drainTimeoutSeconds: server.drainTimeout.value,
    logLevel: server.logLevel.value,
    models: models.map(({ name, path, preload, settings }) => ({
      name,
      path: path.value,
      preload: preload.value,
      ...loadSettings(settings, file),
    })),
  };
}

function loadSettings(settings: ModelConfiguration["settings"], file: string | undefined): ModelSettings {
  const values = {
    contextTokens: settings.context.value,
    maxSequences: settings.maxSequences.value,
    kvTokens: settings.kvTokens.value,
    pooling: settings.pooling.value,
    cacheTypeK: settings.cacheTypeK.value,
    cacheTypeV: settings.cacheTypeV.value,
    stepTokens: settings.stepTokens.value,
    threads: settings.threads.value,
    lora: adaptersOf(settings.lora, file),
    speculate: settings.speculate.value,
    device: settings.device.value,
    deviceLayers: settings.deviceLayers.value,
    expertMemory: settings.expertMemory.value,
    expertPolicy: settings.expertPolicy.value,
    expertPrefetch: settings.expertPrefetch.value,
    regroupExperts: settings.regroupExperts.value,
    recordRouting: pathOf(settings.recordRouting, file),
    prepare: settings.unprepared.value ? ("never" as const) : undefined,
  };
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given), keepAliveSeconds: settings.keepAlive.value };
}

function adaptersOf(
  { value, source }: ModelConfiguration["settings"]["lora"],
  file: string | undefined,
): ModelSettings["lora"] {
  if (value.length === 0) return undefined;
  return value.map((adapter) => ({ ...adapter, path: resolvedPath(adapter.path, source, file) }));
}

function pathOf(
  { value, source }: ModelConfiguration["settings"]["recordRouting"],
  file: string | undefined,
): string | undefined {
  return value === undefined ? undefined : resolvedPath(value, source, file);
}

/** Paths of the file are relative to its folder. */
function resolvedPath(path: string, source: string, file: string | undefined): string {
  return file !== undefined && source.startsWith("file ") ? pathInFile(file, path) : resolve(path);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether only this machine reaches what listens at `host`. */
export function isLoopback(host: string): boolean {
  const version = isIP(host);
  if (version === 0) return host.toLowerCase() === "localhost";
  return loopback.check(host, version === 4 ? "ipv4" : "ipv6");
}

/** The URL at which this machine reaches what listens at `host`. */
export function localUrl(host: string, port: number): string {
  const address = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }[bare(host)] ?? bare(host);
  return `http://${isIP(address) === 6 ? `[${address}]` : address}:${port}`;
}

/** An IPv6 address without the brackets that it has in a URL. */
function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
}
